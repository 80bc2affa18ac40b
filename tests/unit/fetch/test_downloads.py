"""bbr.fetch.downloads and bbr.storage.digests, against a server here."""

import hashlib

import pytest

from bbr.errors import InputError
from bbr.fetch.downloads import Unreachable, download, require_space
from bbr.storage.digests import Digest, check_digest, known_digest

CONTENT = bytes(range(256)) * 1000


def digest_of(content, algorithm="sha256"):
    return Digest(algorithm, hashlib.new(algorithm, content).hexdigest())


@pytest.fixture
def server(web):
    web.files["a.zip"] = CONTENT
    return web


class TestDownload:
    def test_arrives_whole_and_its_digest_is_written_down(self, server, tmp_path):
        path = tmp_path / "folder" / "a.zip"
        sha256 = download(server.url("a.zip"), path)
        assert path.read_bytes() == CONTENT
        assert sha256 == hashlib.sha256(CONTENT).hexdigest()
        assert (path.parent / "a.zip.sha256").read_text() == f"{sha256}  a.zip\n"
        assert sorted(p.name for p in path.parent.iterdir()) == ["a.zip", "a.zip.sha256"]

    def test_a_file_that_is_there_is_not_fetched(self, server, tmp_path):
        (tmp_path / "a.zip").write_bytes(CONTENT)
        download(server.url("a.zip"), tmp_path / "a.zip", digest_of(CONTENT))
        assert server.asked == []

    def test_broken_off_twice_it_goes_on_each_time(self, server, tmp_path):
        server.break_after["a.zip"] = [1000, 5000]
        download(server.url("a.zip"), tmp_path / "a.zip", digest_of(CONTENT, "md5"))
        assert (tmp_path / "a.zip").read_bytes() == CONTENT
        assert server.asked == [("a.zip", 0), ("a.zip", 1000), ("a.zip", 6000)]

    def test_broken_off_for_good_it_keeps_what_it_has_for_the_next_run(self, server, tmp_path):
        server.break_after["a.zip"] = [1000, *[0] * 4]
        message = rf"a\.zip: it ended after 1000 of {len(CONTENT)} bytes; run again, and it goes on"
        with pytest.raises(Unreachable, match=message):
            download(server.url("a.zip"), tmp_path / "a.zip")
        assert [p.name for p in tmp_path.iterdir()] == ["a.zip.part"]
        server.asked.clear()
        download(server.url("a.zip"), tmp_path / "a.zip")
        assert server.asked == [("a.zip", 1000)]
        assert (tmp_path / "a.zip").read_bytes() == CONTENT

    def test_a_file_that_changed_in_between_is_not_joined_to_the_old(self, server, tmp_path):
        server.etags["a.zip"] = '"one"'
        server.break_after["a.zip"] = [1000, *[0] * 4]
        with pytest.raises(Unreachable):
            download(server.url("a.zip"), tmp_path / "a.zip")
        server.files["a.zip"], server.etags["a.zip"] = CONTENT[::-1], '"two"'
        download(server.url("a.zip"), tmp_path / "a.zip")
        assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "a.zip.sha256"]

    def test_the_same_version_goes_on(self, server, tmp_path):
        server.etags["a.zip"] = '"one"'
        server.break_after["a.zip"] = [1000]
        download(server.url("a.zip"), tmp_path / "a.zip")
        assert server.asked == [("a.zip", 0), ("a.zip", 1000)]
        assert (tmp_path / "a.zip").read_bytes() == CONTENT

    def test_a_server_that_gives_no_parts_starts_over(self, server, tmp_path):
        server.ranges = False
        (tmp_path / "a.zip.part").write_bytes(b"something else")
        download(server.url("a.zip"), tmp_path / "a.zip")
        assert (tmp_path / "a.zip").read_bytes() == CONTENT

    def test_all_of_it_there_but_the_name(self, server, tmp_path):
        (tmp_path / "a.zip.part").write_bytes(CONTENT)
        download(server.url("a.zip"), tmp_path / "a.zip", digest_of(CONTENT))
        assert (tmp_path / "a.zip").read_bytes() == CONTENT

    def test_more_than_all_of_it_starts_over(self, server, tmp_path):
        (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
        download(server.url("a.zip"), tmp_path / "a.zip", digest_of(CONTENT))
        assert (tmp_path / "a.zip").read_bytes() == CONTENT

    @pytest.mark.parametrize("algorithm", ["sha256", "md5"])
    def test_a_wrong_digest_leaves_nothing(self, server, tmp_path, algorithm):
        wrong = digest_of(b"another file", algorithm)
        with pytest.raises(InputError, match=f"{algorithm.upper()} is .*, not {wrong.digits}"):
            download(server.url("a.zip"), tmp_path / "a.zip", wrong)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 5)])
    def test_a_server_that_refuses(self, server, tmp_path, status, requests):
        server.status["a.zip"] = status
        with pytest.raises(Unreachable, match=rf"a\.zip: .*{status}"):
            download(server.url("a.zip"), tmp_path / "a.zip")
        assert len(server.asked) == requests  # only an overloaded server is asked again
        assert list(tmp_path.iterdir()) == []

    def test_nobody_there(self, server, tmp_path):
        with pytest.raises(Unreachable, match="refused"):
            download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip")


class TestDigests:
    def test_first_use_is_trusted_and_then_held_to(self, tmp_path):
        path = tmp_path / "a.pth"
        path.write_bytes(b"first")
        check_digest(path, None)
        check_digest(path, None)
        path.write_bytes(b"second")
        with pytest.raises(InputError, match=r"but it first was .*remove a\.pth\.sha256 if you"):
            check_digest(path, None)

    def test_a_known_digest_goes_before_what_was_written_down(self, tmp_path):
        path = tmp_path / "a.pth"
        path.write_bytes(b"second")
        (tmp_path / "a.pth.sha256").write_text(f"{'0' * 64}  a.pth\n")
        check_digest(path, digest_of(b"second"))
        check_digest(path, None)  # the record was put right

    def test_digits_in_a_name(self):
        assert known_digest("vgg16-397923af.pth") == Digest("sha256", "397923af")
        assert known_digest("vgg16-397923af.pth", sha256="ab" * 32) == Digest("sha256", "ab" * 32)
        assert known_digest("x.tar", md5="ab" * 16) == Digest("md5", "ab" * 16)
        assert known_digest("dino_deitsmall16_pretrain.pth") is None
        assert known_digest("model-12345678-notes.pth") is None

    def test_the_beginning_is_compared(self, tmp_path):
        digits = hashlib.sha256(b"x").hexdigest()[:8]
        path = tmp_path / f"net-{digits}.pth"
        path.write_bytes(b"x")
        check_digest(path, known_digest(path.name))
        path.write_bytes(b"y")
        with pytest.raises(InputError, match=f"not {digits}"):
            check_digest(path, known_digest(path.name))


def test_a_full_disk_is_told_beforehand(tmp_path):
    require_space(tmp_path / "not" / "there", 0.001)
    with pytest.raises(InputError, match=r"GB left, and 1e\+09 GB are needed; make it a link"):
        require_space(tmp_path, 1e9)
