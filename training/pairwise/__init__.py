"""Training of students that are a pair model over features: a line, the trees that correct it, unlabelled pairs."""
