"""What a profile opens."""

from nearedge.streaming.commands.opening import Server, clusters_of
from nearedge.streaming.settings.profile import Profile


def test_pixels_have_clusters_only_where_the_profile_wants_them():
    pixels = {"instrument": {"finish": {"when": "pixel"}}}
    wants = {"service": {"pixel_clusters": True}}
    server = Server(uri="http://127.0.0.1:1", api_key=None)
    told = [Profile.model_validate(one) for one in ({}, pixels, wants, pixels | wants)]
    assert [clusters_of(one, server) is not None for one in told] == [False, False, False, True]


def test_clusters_of_pixels_rename_no_result():
    without, wanted = (
        Profile.model_validate({"service": {"pixel_clusters": wants}}) for wants in (False, True)
    )
    assert without.digest() == wanted.digest()
    assert without.reading_digest() == wanted.reading_digest()
