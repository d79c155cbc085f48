"""Settings of a secured connection: what makes no sense is refused, each by its variable, and no password is shown."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from support.certificates import Authority
from tidings.kafka.settings import KafkaSettings
from tidings.kafka.topics import TopicsSettings
from tidings.settings import SettingsError, load

PASSWORD = "s3cret-of-mina"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, two keys with their certificates, and files that are neither."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    for name in ("mina", "other"):
        authority.issue(name)
    (folder / "text.pem").write_text("no certificate")
    (folder / "empty.pem").touch()
    key = load_pem_private_key((folder / "mina.pem").read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    (folder / "encrypted.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    return folder


@pytest.fixture(autouse=True)
def _brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP_SERVERS", "kafka:9093")


def given(monkeypatch: pytest.MonkeyPatch, text: str, files: Path) -> None:
    """Set variables, written as `SASL_USERNAME=mina …`; a name that ends in `.pem` is a file."""
    for part in text.split():
        name, value = part.split("=", 1)
        monkeypatch.setenv(f"TIDINGS_KAFKA_{name}", str(files / value) if value.endswith(".pem") else value)


def loaded(monkeypatch: pytest.MonkeyPatch, text: str, files: Path) -> KafkaSettings:
    given(monkeypatch, text, files)
    return load(TopicsSettings).kafka


def test_without_more_the_connection_is_plain(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    options = loaded(monkeypatch, "", files).client_options()
    assert options == {
        "bootstrap_servers": "kafka:9093",
        "request_timeout_ms": 10_000,
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_password_is_shown_to_the_client_only(monkeypatch: pytest.MonkeyPatch, files: Path, protocol: str) -> None:
    text = f"SECURITY_PROTOCOL={protocol} SASL_USERNAME=mina SASL_PASSWORD={PASSWORD}"
    settings = loaded(monkeypatch, text, files)
    options = settings.client_options()
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("mina", PASSWORD)
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize("files_given", ["", "SSL_CA_FILE=ca.pem"])
def test_tls_always_checks_certificate_and_name(monkeypatch: pytest.MonkeyPatch, files: Path, files_given: str) -> None:
    settings = loaded(monkeypatch, f"SECURITY_PROTOCOL=SSL {files_given}", files)
    context = settings.client_options()["ssl_context"]
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context is settings.client_options()["ssl_context"]  # loading it blocks, so it is done once


def test_of_a_given_authority_no_other_is_trusted(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    context = loaded(monkeypatch, "SECURITY_PROTOCOL=SSL SSL_CA_FILE=ca.pem", files).client_options()["ssl_context"]
    assert len(context.get_ca_certs()) == 1


def test_a_client_certificate_and_its_key_are_taken(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    text = "SECURITY_PROTOCOL=SSL SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=mina.pem"
    assert loaded(monkeypatch, text, files).client_options()["ssl_context"]


SASL = f"SASL_USERNAME=mina SASL_PASSWORD={PASSWORD}"
TLS = "SECURITY_PROTOCOL=SSL"
UNUSED = "is of no use with TIDINGS_KAFKA_SECURITY_PROTOCOL="


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "SECURITY_PROTOCOL=TLS",
            {"SECURITY_PROTOCOL": "should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"},
        ),
        (f"SECURITY_PROTOCOL=TLS {SASL}", {"SECURITY_PROTOCOL": "should be"}),
        ("SECURITY_PROTOCOL=SASL_SSL", {"SASL_USERNAME": "is not set", "SASL_PASSWORD": "is not set"}),
        ("SECURITY_PROTOCOL=SASL_SSL SASL_USERNAME=mina", {"SASL_PASSWORD": "is not set"}),
        ("SECURITY_PROTOCOL=SASL_SSL SASL_USERNAME=mina SASL_PASSWORD=", {"SASL_PASSWORD": "is not set"}),
        (f"SECURITY_PROTOCOL=SASL_SSL SASL_PASSWORD={PASSWORD}", {"SASL_USERNAME": "is not set"}),
        (SASL, {"SASL_USERNAME": f"{UNUSED}PLAINTEXT", "SASL_PASSWORD": f"{UNUSED}PLAINTEXT"}),
        (f"{TLS} {SASL}", {"SASL_USERNAME": f"{UNUSED}SSL", "SASL_PASSWORD": f"{UNUSED}SSL"}),
        ("SASL_MECHANISM=PLAIN", {"SASL_MECHANISM": f"{UNUSED}PLAINTEXT"}),
        (f"SECURITY_PROTOCOL=SASL_SSL SASL_MECHANISM=GSSAPI {SASL}", {"SASL_MECHANISM": "should be 'SCRAM-SHA-512'"}),
        (f"SECURITY_PROTOCOL=SASL_PLAINTEXT SASL_MECHANISM=PLAIN {SASL}", {"SASL_MECHANISM": "password in clear"}),
        ("SSL_CA_FILE=ca.pem", {"SSL_CA_FILE": f"{UNUSED}PLAINTEXT"}),
        (
            "SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=mina.pem",
            {"SSL_CERTIFICATE_FILE": f"{UNUSED}PLAINTEXT", "SSL_KEY_FILE": f"{UNUSED}PLAINTEXT"},
        ),
        (f"{TLS} SSL_CA_FILE=none.pem", {"SSL_CA_FILE": "there is no such file"}),
        (f"{TLS} SSL_CA_FILE=text.pem", {"SSL_CA_FILE": "holds no PEM certificates: "}),
        (f"{TLS} SSL_CA_FILE=empty.pem", {"SSL_CA_FILE": "holds no PEM certificates: "}),
        (f"{TLS} SSL_CERTIFICATE_FILE=mina.pem", {"SSL_KEY_FILE": "TIDINGS_KAFKA_SSL_CERTIFICATE_FILE must both be"}),
        (f"{TLS} SSL_KEY_FILE=mina.pem", {"SSL_KEY_FILE": "TIDINGS_KAFKA_SSL_CERTIFICATE_FILE must both be"}),
        (
            f"{TLS} SSL_CERTIFICATE_FILE=none.pem SSL_KEY_FILE=mina.pem",
            {"SSL_CERTIFICATE_FILE": "there is no such file"},
        ),
        (f"{TLS} SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=none.pem", {"SSL_KEY_FILE": "there is no such file"}),
        (f"{TLS} SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=ca.pem", {"SSL_KEY_FILE": "is not the PEM key of that"}),
        (f"{TLS} SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=other.pem", {"SSL_KEY_FILE": "KEY_VALUES_MISMATCH"}),
        (f"{TLS} SSL_CERTIFICATE_FILE=mina.pem SSL_KEY_FILE=encrypted.pem", {"SSL_KEY_FILE": "is encrypted"}),
        (
            "SECURITY_PROTOCOL=SASL_SSL SASL_USERNAME=mina SSL_CA_FILE=none.pem",
            {"SASL_PASSWORD": "is not set", "SSL_CA_FILE": "there is no such file"},
        ),
    ],
)
def test_what_makes_no_sense_is_named_all_at_once(
    monkeypatch: pytest.MonkeyPatch, files: Path, text: str, problems: dict[str, str]
) -> None:
    given(monkeypatch, text, files)
    with pytest.raises(SettingsError) as caught:
        load(TopicsSettings)
    assert "s3cret" not in str(caught.value)
    lines = dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines()[1:])
    assert lines.keys() == {f"TIDINGS_KAFKA_{name}" for name in problems}
    for name, said in problems.items():
        assert said in lines[f"TIDINGS_KAFKA_{name}"]
