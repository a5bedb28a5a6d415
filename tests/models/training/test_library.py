from nearedge.models.training import library


def test_surroundings_end_with_the_cluster(make_site):
    positions, kinds = library.surroundings([make_site()], vocabulary=["Si", "O"])
    assert positions.isfinite().all(-1).sum() == 4
    assert kinds[0, :4].tolist() == [1, 1, 1, 1]
