"""What decisions on labelled pairs are worth."""
