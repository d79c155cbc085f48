"""Every setting of every service and of the local runner: what it accepts, what it makes of it, and what it refuses.

A setting without a row fails, so a new one cannot be forgotten. Where a refused value holds `s3cret`, the message must
not.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies
from pydantic import SecretStr

from support.certificates import Authority
from support.settings import COMPLETE, PLACES
from tidings import addresses
from tidings.settings import Settings, SettingsError, load
from tidings_auth.settings import AuthSettings
from tidings_local.settings import read_settings
from tidings_messages.settings import MessagesSettings

SASL = {
    "TIDINGS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "TIDINGS_KAFKA_SASL_USERNAME": "mina",
    "TIDINGS_KAFKA_SASL_PASSWORD": "s3cret-of-mina",
}
TLS = {"TIDINGS_KAFKA_SECURITY_PROTOCOL": "SSL"}
WITH_KEY = TLS | {"TIDINGS_KAFKA_SSL_KEY_FILE": "{folder}/mina.pem"}
WITH_CERTIFICATE = TLS | {"TIDINGS_KAFKA_SSL_CERTIFICATE_FILE": "{folder}/mina.pem"}
DEVELOPMENT = {"TIDINGS_ENVIRONMENT": "development"}


@dataclass
class Row:
    """One setting; `{folder}` in a text is a folder with files in it."""

    accepts: Mapping[str, object]
    """Each value of the variable, and what is made of it."""
    refuses: Mapping[str, str]
    """Each value of the variable, and a part of what is said about it."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Other variables that it goes with."""


def whole(least: int, most: int) -> Row:
    """Return the row of a whole number."""
    return Row(
        {str(least): least, str(most): most, f" {most} ": most, f"0{least}": least},
        {
            str(least - 1): f"greater than or equal to {least}",
            str(most + 1): f"less than or equal to {most}",
            "": "valid integer",
            "many": "valid integer",
            f"{least}.5": "valid integer",
            "nan": "valid integer",
            "inf": "valid integer",
            "9" * 5000: "integer",
        },
    )


def real(least: float, most: float, below: str) -> Row:
    """Return the row of a number."""
    return Row(
        {str(least): least, str(most): most, f" {most}": most},
        {
            below: "greater than",
            str(most + 0.1): f"less than or equal to {most}",
            "1e400": "finite number",
            "inf": "finite number",
            "-inf": "finite number",
            "nan": "finite number",
            "much": "valid number",
            "": "valid number",
        },
    )


def flag(given: Mapping[str, str] | None = None) -> Row:
    """Return the row of a switch."""
    return Row(
        {"true": True, "TRUE": True, "1": True, "yes": True, "off": False, "0": False},
        dict.fromkeys(("", "maybe", "2", " true", "nan", "-1"), "valid boolean"),
        given or {},
    )


def choice(*values: str, given: Mapping[str, str] | None = None) -> Row:
    """Return the row of one of some words."""
    wrong = ("", f" {values[0]}", values[0].swapcase(), "something")
    return Row({value: value for value in values}, dict.fromkeys(wrong, "Input should be"), given or {})


def text(given: Mapping[str, str] | None = None, empty: str = "is empty") -> Row:
    """Return the row of a text of one line."""
    return Row(
        {"x": "x", "민아": "민아", "with space": "with space", "x" * 255: "x" * 255},
        {"": empty, " x": "white space", "x\n": "white space", "a\x07b": "control character", "x" * 256: "255"},
        given or {},
    )


def optional(row: Row, drops: tuple[str, ...] = ()) -> Row:
    """Return the row of a variable of OpenTelemetry, where nothing and blanks count as not set."""
    refuses = {value: said for value, said in row.refuses.items() if value not in ("", *drops)}
    return Row({**row.accepts, "": None, " ": None}, refuses, row.given)


def word(*values: str) -> Row:
    """Return the row of one of some words whose case does not matter."""
    accepts: dict[str, object] = {value: value for value in values}
    accepts |= {values[0].upper(): values[0], "": None, "  ": None}
    return Row(accepts, {"something": "Input should be", f" {values[0]}": "Input should be"})


def same(*texts: str) -> dict[str, object]:
    """Return texts that are taken as they are."""
    return {text: text for text in texts}


HEADERS = Row(
    {
        "a=b": "a=b",
        **same("authorization=Basic%20c2VjcmV0,x=y", "x=%C3%96"),
        "authorization=Bearer t0ken, x = y=": "authorization=Bearer t0ken, x = y=",
        "": None,
    },
    dict.fromkeys(
        (
            *(
                "s3cret",
                "=s3cret",
                "a=",
                "a=b,s3cret",
                "a b=s3cret",
                "a=%0as3cret",
                "a=s3cret\n,b",
                "a=\ns3cret",
                "a=s3cret,",
            ),
            *("a=s3cret%EB%AF%BC", "a=s3cret%C2%85", "a=s3cret%ff", "a=민s3cret", "a=s3cret%zz", "a=s3cret%"),
            *("a=Bearer%20s3cret x", 'a="s3cret"', "a=s3cret;b", "a=s3cret\\", "a%20b=s3cret", "a=\x07s3cret"),
        ),
        "must be name=value pairs, separated by commas, with percent-encoded values in Latin-1",
    ),
)
NO_FILE = {
    "{folder}/none": "there is no such file",
    "{folder}": "there is no such file",
    "{folder}/s3cret" + "x" * 300: "there is no such file",
    "{folder}/text.pem/s3cret": "there is no such file",
}
CERTIFICATE_ERRORS = {**NO_FILE, "{folder}/text.pem": "holds no PEM certificates"}
KAFKA_FILE_ERRORS = {"": "is empty", **CERTIFICATE_ERRORS}
HTTP = {
    "": "must start with http:// or https://",
    "auth:8000/keys": "must start with",
    "ftp://auth/keys": "must start with",
    "HTTP://auth/keys": "must start with",
    " http://auth/keys": "must start with",
    "http://": "names no host",
    "http:///keys": "names no host",
    "http://:80/keys": "names no host",
    "http://auth:port/keys": "port",
    "http://auth:0/keys": "port",
    "http://auth:65536/keys": "port",
    "http://auth:/keys": "port",
    "http://auth/keys ": "percent-encoded",
    "http://auth/\tkeys": "percent-encoded",
    "http://auth/k#s3cret": "has a #",
    "http://u:s3cret@auth/keys": "must not hold a user name or password",
    "http://u@auth/keys": "must not hold a user name or password",
    "http://auth/s3cret@x": "percent-encode",
    "http://auth/%zz": "two hexadecimal digits",
    "http://auth/%ff": "not UTF-8",
    "http://auth/%0a": "control character",
    "http://아/keys": "percent-encoded",
    "http://a..b/keys": "neither a host name nor an IP address",
    "http://-a/keys": "neither a host name nor an IP address",
    "http://1.2.3/keys": "neither a host name nor an IP address",
    "http://1.2.3.256/keys": "neither a host name nor an IP address",
    "http://0x7f000001/keys": "neither a host name nor an IP address",
    "http://::1/keys": "IPv6 addresses go in brackets",
    "http://[::g]/keys": "not an IPv6 address",
    "http://[auth]/keys": "brackets",
}
USERINFO = {
    "{scheme}://u:pre@s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u:s3c#s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u:12?s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u:12/s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u:12//s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u://s3cret@127.0.0.1/0": "percent-encode",
    "{scheme}://u:s3cret/x@127.0.0.1/0": "percent-encode",
    "{scheme}://u:s3cret%@127.0.0.1/0": "two hexadecimal digits",
    "{scheme}://u:s3cret%4@127.0.0.1/0": "two hexadecimal digits",
    "{scheme}://u:s3cret%fe@127.0.0.1/0": "not UTF-8",
    "{scheme}://u:s3cret%00@127.0.0.1/0": "control character",
    "{scheme}://u:s3cret x@127.0.0.1/0": "percent-encoded",
    "{scheme}://u:s3cret\n@127.0.0.1/0": "percent-encoded",
    "{scheme}://u:s3cret민@127.0.0.1/0": "percent-encoded",
    "{scheme}://u:s3cret[x]@127.0.0.1/0": "bracket",
    "{scheme}://u:s3cret\\@127.0.0.1/0": "percent-encoded",
    "{scheme}://u:s3cret@/0": "names no host",
    "{scheme}://u:s3cret@:3306/0": "names no host",
    "{scheme}://u:s3cret@h:port/0": "port",
    "{scheme}://u:s3cret@h:99999/0": "port",
    "{scheme}://u:s3cret@h:/0": "port",
    "{scheme}://u:s3cret@h:-1/0": "port",
    "{scheme}://u:s3cret/0": "port",
    "{scheme}://u:s3cret@[::1/0": "IPv6",
    "{scheme}://u:s3cret@::1/0": "IPv6",
    "{scheme}://u:s3cret@h_!/0": "neither a host name nor an IP address",
    "{scheme}://u:s3cret@0x7f000001/0": "neither a host name nor an IP address",
    "{scheme}://u:s3cret@2130706433/0": "neither a host name nor an IP address",
    "{scheme}://u:s3cret@0177.0.0.1/0": "neither a host name nor an IP address",
    "{scheme}://u:s3cret@127.1/0": "neither a host name nor an IP address",
    " {scheme}://u:s3cret@h/0": "must start with",
    "{scheme}:/u:s3cret@h/0": "must start with",
    "s3cret": "must start with",
    "": "must start with",
}


def userinfo(scheme: str) -> dict[str, str]:
    """Return what no address with a password may be."""
    return {text.replace("{scheme}", scheme): said for text, said in USERINFO.items()}


COUNT = optional(whole(0, 2**31 - 1))
SIZE = optional(whole(1, 1_000_000))
MILLISECONDS = optional(whole(1, 86_400_000))
SECONDS = optional(real(0.001, 3600, below="0"))
COMPRESSION = word("none", "gzip", "deflate")
PORT = whole(1, 65535)
SIGNALS = ("", "TRACES_", "METRICS_")
ENDPOINT = Row(
    {**same("http://collector:4318/v1/traces", "https://collector", "http://collector/x/"), "": None, " ": None},
    {
        "collector:4317": "must start with http:// or https://",
        "http://collector/?key=s3cret": "must not have a query",
        **{text: said for text, said in HTTP.items() if text},
    },
)
AUTHORITIES = Row({"{folder}/ca.pem": Path("{folder}/ca.pem"), "": None}, CERTIFICATE_ERRORS)
PROVIDER = Row({"": None}, {"s3cret": "must be the name of a credential provider that is installed"})
PATTERNS = Row({"x-.*, accept": "x-.*, accept", "": None}, {"s3cret(": "must be regular expressions"})


def client_certificate(signal: str) -> Row:
    """Return the row of a client's certificate, in whose file its key may be."""
    return Row({"{folder}/mina.pem": Path("{folder}/mina.pem"), "": None}, CERTIFICATE_ERRORS)


def client_key(signal: str) -> Row:
    """Return the row of the key of a client's certificate."""
    return Row(
        {"{folder}/mina.pem": Path("{folder}/mina.pem"), "": None},
        {**NO_FILE, "{folder}/text.pem": "is not the PEM key of that certificate"},
        {f"OTEL_EXPORTER_OTLP_{signal}CLIENT_CERTIFICATE": "{folder}/mina.pem"},
    )


ROWS: dict[str, Row] = {
    "TIDINGS_ENVIRONMENT": choice("production", "development"),
    "TIDINGS_LOG_LEVEL": choice("DEBUG", "INFO", "WARNING", "ERROR"),
    "TIDINGS_HTTP_HOST": Row(
        {
            **same("127.0.0.1", "0.0.0.0", "::1", "::", "localhost", "a.b-c_d"),  # noqa: S104  # read, not listened on
            "[::1]": "::1",
            "0:0::1": "::1",
        },
        {
            "": "neither a host name nor an IP address",
            " 127.0.0.1": "neither",
            "*": "neither",
            "127.0.0.1:8000": "not an IPv6 address",
            "http://x": "not an IPv6 address",
            "256.0.0.1": "neither",
            "[localhost]": "brackets",
            "x" * 64: "neither",
            **dict.fromkeys(("0x7f000001", "0X7F.1", "127.0.0.0x1", "0177.0.0.1", "2130706433", "127.1"), "neither"),
            "::g": "not an IPv6 address",
        },
    ),
    "TIDINGS_HTTP_PORT": PORT,
    "TIDINGS_HTTP_MANAGEMENT_PORT": Row(PORT.accepts, {**PORT.refuses, "8000": "is the same as TIDINGS_HTTP_PORT"}),
    "TIDINGS_HTTP_PUBLIC_URL": Row(
        {
            **same("https://tidings.example", "http://localhost:8080", "http://[::1]:8080"),
            "https://tidings.example/": "https://tidings.example",
            "https://tidings.example//": "https://tidings.example",
            "https://Tidings.Example/": "https://tidings.example",
            "https://tidings.example:0443": "https://tidings.example",
            "https://tidings.example:08443/": "https://tidings.example:8443",
            "http://tidings.example:0080/": "http://tidings.example",
            "http://tidings.example:443": "http://tidings.example:443",
            "https://[0:0:0:0:0:0:0:1]:8443": "https://[::1]:8443",
            "https://[::FFFF:1.2.3.4]": "https://[::ffff:102:304]",
        },
        {
            "not-a-url": "must start with http:// or https://",
            "/": "must start with",
            "//tidings.example": "must start with",
            "https://tidings.example/base": "must not have a path",
            "https://tidings.example?x=s3cret": "must not have a query",
            "https://tidings.example/?": "must not have a query",
            "https://tidings.example/#": "has a #",
            **{text: said for text, said in HTTP.items() if "://auth" not in text or "@" in text},
        },
    ),
    "TIDINGS_HTTP_TRUSTED_HOPS": whole(0, 10),
    "TIDINGS_HTTP_HEADER_SECONDS": real(0.1, 600, below="0.09"),
    "TIDINGS_HTTP_BODY_SECONDS": real(0.1, 600, below="0.09"),
    "TIDINGS_HTTP_WRITE_SECONDS": real(0.1, 600, below="0.09"),
    "TIDINGS_HTTP_KEEP_ALIVE_SECONDS": whole(1, 3600),
    "TIDINGS_HTTP_MAX_CONNECTIONS": whole(1, 100_000),
    "TIDINGS_HTTP_MAX_REQUESTS": whole(1, 10_000),
    "TIDINGS_HTTP_DRAIN_SECONDS": real(0, 60, below="-0.1"),
    "TIDINGS_DATABASE_URL": Row(
        same(
            "mysql+aiomysql://u:p@db/tidings",
            "mysql+aiomysql://u:a:b@db:3306/tidings",
            "mysql+aiomysql://u:%40%3A%2F%3F%23%25%EB%AF%BC@db/tidings",
            "mysql+aiomysql://u:p!$&'()*+,;=~@db/tidings",
            "mysql+aiomysql://root@[::1]:3306/tidings?charset=utf8mb4",
            "sqlite+aiosqlite:///x.db",
            "sqlite+aiosqlite:///{folder}/with space, 민아.db",
        ),
        {
            **userinfo("mysql+aiomysql"),
            "postgresql+asyncpg://u:s3cret@db/x": "must start with mysql+aiomysql:// or sqlite+aiosqlite://",
            "mysql://u:s3cret@db/x": "must start with",
            "MYSQL+aiomysql://u:s3cret@db/x": "must start with",
            "mysql+aiomysql://u:s3cret@db:3306": "names no database",
            "mysql+aiomysql://u:s3cret@db:3306/": "names no database",
            "mysql+aiomysql://u:s3cret@db/x/y": "slash",
            "mysql+aiomysql://:s3cret@db/x": "names no user",
            "mysql+aiomysql://db/x": "names no user",
            "mysql+aiomysql://u:s3cret@db/x?ssl=s3cret": "no parameters but charset=utf8mb4",
            "mysql+aiomysql://u:s3cret@db/x?": "no parameters",
            "sqlite+aiosqlite://": "names no file",
            "sqlite+aiosqlite:///": "names no file",
            "sqlite+aiosqlite:///:memory:": "names no file",
            "sqlite+aiosqlite://u:s3cret@h/x.db": "names no file",
            "sqlite+aiosqlite:///x.db?uri=true": "? or #",
            "sqlite+aiosqlite:///x#y.db": "? or #",
            "sqlite+aiosqlite:///100%.db": "two hexadecimal digits",
            "sqlite+aiosqlite:///{folder}": "names a folder, not a file",
            "sqlite+aiosqlite:///{folder}/none/x.db": "the folder of the file does not exist",
            "sqlite+aiosqlite:///{folder}/s3cret" + "x" * 300 + "/x.db": "the folder of the file does not exist",
            "sqlite+aiosqlite:///{folder}/s3cret" + "x" * 300: "the name of the file is too long",
            "sqlite+aiosqlite:///u:s3cret@db/x": "the folder of the file does not exist",
        },
    ),
    "TIDINGS_DATABASE_POOL_SIZE": whole(1, 200),
    "TIDINGS_DATABASE_DEADLINE_SECONDS": real(0.05, 60, below="0.04"),
    "TIDINGS_DATABASE_MAX_CLOCK_DIFFERENCE_SECONDS": real(0.1, 60, below="0.09"),
    "TIDINGS_REDIS_URL": Row(
        same(
            "redis://redis",
            "redis://redis/",
            "redis://redis:6379/0",
            "redis://:p@redis:6379/15",
            "rediss://u:%40%23@[::1]:6379/0",
            "rediss://redis/0?ssl_ca_certs={folder}/ca.pem&ssl_certfile={folder}/mina.pem",
            "rediss://redis/0?ssl_certfile={folder}/mina.pem&ssl_keyfile={folder}/mina.pem",
        ),
        {
            **userinfo("redis"),
            "http://:s3cret@redis": "must start with redis:// or rediss:// or memory://",
            "unix://:s3cret@/run/redis": "must start with",
            "redis://": "names no host",
            "redis://s3cret@redis/0": "user name without a password",
            "redis://:@redis/0": "user name without a password",
            "redis://redis/one": "number of a database",
            "redis://redis/1/2": "number of a database",
            "redis://redis/-1": "number of a database",
            "redis://redis/999999": "number of a database",
            "redis://redis/0?password=s3cret": "takes no parameters",
            "rediss://redis/0?ssl_cert_reqs=none": "takes no parameters; rediss:// takes",
            "rediss://redis/0?ssl_keyfile=a&ssl_keyfile=b": "takes no parameters",
            "rediss://redis/0?": "takes no parameters",
            **{
                f"rediss://:s3cret@redis/0?ssl_{name}={file}": f"ssl_{name}: {said}"
                for name in ("ca_certs", "certfile")
                for file, said in {**CERTIFICATE_ERRORS, "": "there is no such file"}.items()
            },
            **{
                f"rediss://redis/0?ssl_certfile={{folder}}/mina.pem&ssl_keyfile={file}": f"ssl_keyfile: {said}"
                for file, said in {**NO_FILE, "{folder}/text.pem": "is not the PEM key of that certificate"}.items()
            },
            "rediss://redis/0?ssl_keyfile={folder}/mina.pem": "ssl_keyfile: is set, and the certificate",
            "rediss://redis/0?ssl_certfile={folder}/ca.pem": "ssl_keyfile: is not set, and the file of the certificate",
            "memory://redis": "is for TIDINGS_ENVIRONMENT=development only; give the address of a Redis server",
            "memory://": "must name the store",
            "memory://a b": "must name the store",
        },
    ),
    "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": Row(
        {
            **same("kafka:9092", "10.0.0.1:9092", "[::1]:9092", "a.b-c_d:1,e:65535"),
            "kafka-0:9092, kafka-1:9092 ": "kafka-0:9092,kafka-1:9092",
        },
        {
            "": "broker 1 of 1 is not host:port",
            "kafka:9092,": "broker 2 of 2 is not host:port",
            "u:s3cret@kafka:9092": "broker 1 of 1",
            **dict.fromkeys(
                ("s3cret", "kafka:", ":9092", "kafka:port", "http://kafka:9092", "a b:1", "k:0", "k:65536"),
                "is not host:port",
            ),
            **dict.fromkeys(("kafka..svc:9092", f"{'x' * 64}.svc:9092", ".:9092", "::1:9092"), "is not host:port"),
        },
    ),
    "TIDINGS_KAFKA_FETCH_MAX_WAIT_MS": whole(1, 10_000),
    "TIDINGS_KAFKA_DRAIN_AT_STOP": flag(),
    "TIDINGS_KAFKA_SECURITY_PROTOCOL": Row(
        same("PLAINTEXT", "SSL"), dict.fromkeys(("", "ssl", " SSL", "TLS"), "Input should be")
    ),
    "TIDINGS_KAFKA_SASL_MECHANISM": choice("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", given=SASL),
    "TIDINGS_KAFKA_SASL_USERNAME": text(SASL, empty="is not set"),
    "TIDINGS_KAFKA_SASL_PASSWORD": Row(
        same("p", "Endpoint=sb://x.example/;SharedAccessKey=s3cret="),
        {"": "is not set", " s3cret": "white space", "s3cret\n": "white space", "s3cret\x07s3cret": "control"},
        SASL,
    ),
    "TIDINGS_KAFKA_SSL_CA_FILE": Row({"{folder}/ca.pem": Path("{folder}/ca.pem")}, KAFKA_FILE_ERRORS, TLS),
    "TIDINGS_KAFKA_SSL_CERTIFICATE_FILE": Row(
        {"{folder}/mina.pem": Path("{folder}/mina.pem")}, KAFKA_FILE_ERRORS, WITH_KEY
    ),
    "TIDINGS_KAFKA_SSL_KEY_FILE": Row(
        {"{folder}/mina.pem": Path("{folder}/mina.pem")},
        {
            "": "is empty",
            **NO_FILE,
            "{folder}/text.pem": "is not the PEM key of that certificate",
        },
        WITH_CERTIFICATE,
    ),
    "TIDINGS_ACTIVITY_ADDRESS_KEY": Row(
        same("x" * 16, "x" * 4000, "a key with spaces"),
        {"": "16", "s3cret": "16", " s3cret-s3cret-s3": "white space", "s3cret-s3cret-s3\n": "white space"},
    ),
    "TIDINGS_TOKENS_ISSUER": text(),
    "TIDINGS_TOKENS_AUDIENCE": text(),
    "TIDINGS_TOKENS_JWKS_URL": Row(
        same("http://auth:8000/.well-known/jwks.json", "https://auth/keys?x=%40y", "http://[::1]:8080/k", "http://a"),
        HTTP,
    ),
    "TIDINGS_SIGNING_KEYS_FILE": Row(
        {"keys.json": Path("keys.json"), "{folder}/민아.json": Path("{folder}/민아.json")}, {"": "is empty"}
    ),
    "TIDINGS_SIGNING_GENERATE": flag(DEVELOPMENT),
    "TIDINGS_SIGNING_ROTATE_DAYS": whole(1, 3650),
    "TIDINGS_SIGNING_ISSUER": text(),
    "TIDINGS_SIGNING_AUDIENCE": text(),
    "TIDINGS_SIGNING_LIFETIME_SECONDS": whole(30, 3600),
    "TIDINGS_SESSION_LIFETIME_DAYS": whole(1, 365),
    "TIDINGS_SESSION_IDLE_DAYS": whole(1, 365),
    "TIDINGS_SESSION_INSECURE_COOKIE": flag(DEVELOPMENT),
    "TIDINGS_PASSWORD_MIN_LENGTH": whole(8, 64),
    "TIDINGS_CONSUMER_GROUP": text(),
    "TIDINGS_CONSUMER_MAX_POISON_SHARE": real(0, 1, below="-0.1"),
    "TIDINGS_CONSUMER_MIN_POISON": whole(0, 1_000_000),
    "TIDINGS_TOPICS_REPLICATION": whole(1, 10),
    "TIDINGS_TOPICS_MIN_INSYNC": whole(1, 10),
    "OTEL_EXPORTER_OTLP_ENDPOINT": Row(
        {
            **same("http://collector:4318", "https://collector/base"),
            "http://collector:4318/": "http://collector:4318",
            "": None,
            " ": None,
        },
        {
            "collector:4317": "must start with http:// or https://",
            "http://collector?x=1": "must not have a query",
            **{text: said for text, said in HTTP.items() if text},
        },
    ),
    **dict.fromkeys(
        ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
        HEADERS,
    ),
    **dict.fromkeys(
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"),
        SECONDS,
    ),
    "OTEL_EXPORTER_OTLP_COMPRESSION": COMPRESSION,
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": COMPRESSION,
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": COMPRESSION,
    **{f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT": ENDPOINT for signal in ("TRACES_", "METRICS_")},
    **{f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL": optional(choice("http/protobuf")) for signal in SIGNALS},
    **{f"OTEL_{signal}EXPORTER": optional(choice("otlp", "none")) for signal in ("TRACES_", "METRICS_")},
    **{f"OTEL_EXPORTER_OTLP_{signal}CERTIFICATE": AUTHORITIES for signal in SIGNALS},
    **{f"OTEL_EXPORTER_OTLP_{signal}CLIENT_CERTIFICATE": client_certificate(signal) for signal in SIGNALS},
    **{f"OTEL_EXPORTER_OTLP_{signal}CLIENT_KEY": client_key(signal) for signal in SIGNALS},
    **{f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal}CREDENTIAL_PROVIDER": PROVIDER for signal in SIGNALS},
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": word("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": word(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    "OTEL_TRACES_SAMPLER": word(
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
    "OTEL_TRACES_SAMPLER_ARG": optional(real(0, 1, below="-0.1")),
    "OTEL_BSP_SCHEDULE_DELAY": MILLISECONDS,
    "OTEL_BSP_EXPORT_TIMEOUT": MILLISECONDS,
    "OTEL_BSP_MAX_QUEUE_SIZE": Row(SIZE.accepts, SIZE.refuses, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": Row(
        SIZE.accepts, {**SIZE.refuses, "1000001": "1000000"}, {"OTEL_BSP_MAX_QUEUE_SIZE": "1000000"}
    ),
    "OTEL_METRIC_EXPORT_INTERVAL": MILLISECONDS,
    "OTEL_METRIC_EXPORT_TIMEOUT": MILLISECONDS,
    "OTEL_METRICS_EXEMPLAR_FILTER": optional(choice("always_on", "always_off", "trace_based")),
    **dict.fromkeys(
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        ),
        COUNT,
    ),
    "OTEL_RESOURCE_ATTRIBUTES": Row(
        {"a=b": "a=b", "a=b,c=%20": "a=b,c=%20", "a=": "a=", "a=민": "a=민", "": None},
        {
            **dict.fromkeys(("s3cret", "=s3cret", "a=s3cret,", " =s3cret"), "name=value"),
            "a=s3cret%": "two hexadecimal digits",
            "a=s3cret%ff": "not UTF-8",
            "a=s3cret%00": "control character",
        },
    ),
    **{
        f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{name}": PATTERNS
        for name in ("SERVER_REQUEST", "SERVER_RESPONSE", "SANITIZE_FIELDS")
    },
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": Row(
        {"host, os": "host, os", "*": "*", "": None}, dict.fromkeys(("nothing", "host,nothing"), "must be some of *")
    ),
    "OTEL_SDK_DISABLED": word("true", "false"),
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": word("true", "false"),
    "PORT": Row({**PORT.accepts, "": 8080}, {value: said for value, said in PORT.refuses.items() if value}),
    "DATA": Row({"var": Path("var"), "{folder}/민아": Path("{folder}/민아"), "": Path("var")}, {}),
    "REAL": Row({**flag().accepts, "": False}, {value: said for value, said in flag().refuses.items() if value}),
}
ROWS["TIDINGS_HOST"] = Row(
    {**ROWS["TIDINGS_HTTP_HOST"].accepts, "": "127.0.0.1"},
    {value: said for value, said in ROWS["TIDINGS_HTTP_HOST"].refuses.items() if value},
)


def read(name: str) -> object:
    """Return what a variable is read as."""
    kind, path = PLACES[name]
    found: Any = load(kind) if issubclass(kind, Settings) else read_settings()
    for part in path:
        found = getattr(found, part)
    if isinstance(found, SecretStr):
        found = found.get_secret_value()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate with its key, and a file that is neither."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    authority.issue("mina")
    authority.issue("other")
    (folder / "text.pem").write_text("no certificate")
    return folder


@pytest.fixture(autouse=True)
def _complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


def give(monkeypatch: pytest.MonkeyPatch, folder: Path, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("{folder}", str(folder)))


def named(cases: list[tuple[str, str]]) -> list[str]:
    """Return a name for each case."""
    return [f"{name}={text:.60}" for name, text in cases]


CASES = [(name, text) for name, row in ROWS.items() for text in row.accepts]
REFUSED = [(name, text) for name, row in ROWS.items() for text in row.refuses]


def test_every_setting_has_a_row() -> None:
    assert ROWS.keys() == PLACES.keys()


@pytest.mark.parametrize(("name", "text"), CASES, ids=named(CASES))
def test_a_good_value_is_read(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, text: str) -> None:
    row = ROWS[name]
    give(monkeypatch, folder, {**row.given, name: text})
    expected = row.accepts[text]
    if isinstance(expected, (str, Path)):
        expected = type(expected)(str(expected).replace("{folder}", str(folder)))
    assert read(name) == expected


@pytest.mark.parametrize(("name", "text"), REFUSED, ids=named(REFUSED))
def test_a_wrong_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, text: str
) -> None:
    row = ROWS[name]
    give(monkeypatch, folder, {**row.given, name: text})
    with pytest.raises(SettingsError) as caught:
        read(name)
    assert caught.value.__cause__ is None
    first, *lines = str(caught.value).splitlines()
    assert first == "wrong settings:"
    said = [line for line in lines if line.startswith(f"  {name}: ")]
    assert len(said) == 1
    assert row.refuses[text] in said[0]
    assert "s3cret" not in str(caught.value)
    assert "Value error" not in str(caught.value)


def problems(kind: type[Settings] = MessagesSettings) -> dict[str, str]:
    """Return what is said about each wrong variable."""
    with pytest.raises(SettingsError) as caught:
        load(kind)
    assert "s3cret" not in str(caught.value)
    return dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines()[1:])


@pytest.mark.parametrize(("queue", "batch"), [("511", ""), ("99", "100"), ("", "9999")])
def test_a_batch_larger_than_its_queue_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, queue: str, batch: str
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", queue)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)
    said = (
        "must not be more than OTEL_BSP_MAX_QUEUE_SIZE; without these variables they are 512 and 2048"  # the SDK's own
    )
    assert problems() == {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": said}
    with pytest.raises(SettingsError, match=f"  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: {said}"):
        read_settings()


def test_rules_over_several_variables_are_told_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9999",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "s3cret",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "s3cret",
        "TIDINGS_DATABASE": '{"url": "s3cret"}',
        "TIDINGS_REDIS_URL": "memory://redis",
        "TIDINGS_SIGNING_GENERATE": "true",
        "TIDINGS_SESSION_INSECURE_COOKIE": "true",
        "TIDINGS_LOG_LEVEL": "s3cret",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert problems(AuthSettings).keys() == wrong.keys()


CLIENT_KEY, CLIENT_CERTIFICATE = "OTEL_EXPORTER_OTLP_{}CLIENT_KEY", "OTEL_EXPORTER_OTLP_{}CLIENT_CERTIFICATE"
BARE = "{folder}/ca.pem"
"""A certificate without its key."""


@pytest.mark.parametrize(
    ("files", "blamed", "said"),
    [
        ({CLIENT_KEY: "{folder}/mina.pem"}, CLIENT_KEY, "is set, and the certificate of that key is not"),
        ({CLIENT_CERTIFICATE: BARE}, CLIENT_KEY, "is not set, and the file of the certificate does not hold its key"),
        ({CLIENT_CERTIFICATE: "{folder}/other.pem", CLIENT_KEY: "{folder}/mina.pem"}, CLIENT_KEY, "is not the PEM key"),
    ],
)
@pytest.mark.parametrize("signal", SIGNALS)
def test_client_certificate_and_key_must_fit(
    monkeypatch: pytest.MonkeyPatch, folder: Path, signal: str, files: Mapping[str, str], blamed: str, said: str
) -> None:
    give(monkeypatch, folder, {name.format(signal): file for name, file in files.items()})
    assert problems().keys() == {blamed.format(signal)}
    assert problems()[blamed.format(signal)].startswith(said)


def test_client_files_of_one_signal_go_before_those_of_all(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    general = {CLIENT_CERTIFICATE.format(""): "{folder}/mina.pem", CLIENT_KEY.format(""): "{folder}/mina.pem"}
    give(monkeypatch, folder, general)
    load(MessagesSettings)
    give(monkeypatch, folder, {CLIENT_KEY.format("TRACES_"): "{folder}/other.pem"})
    assert problems().keys() == {CLIENT_KEY.format("TRACES_")}
    give(monkeypatch, folder, {CLIENT_CERTIFICATE.format("TRACES_"): "{folder}/other.pem"})
    load(MessagesSettings)


@given(strategies.from_regex(r"(0[xX])?[0-9a-fA-F]{1,10}(\.(0[xX])?[0-9a-fA-F]{0,4}){0,4}", fullmatch=True))
def test_a_host_that_a_resolver_reads_as_ipv4_is_spelled_as_ipv4(text: str) -> None:
    """`inet_aton` also reads hexadecimal, octal and short forms, so that two texts may mean the same host."""
    try:
        packed = socket.inet_aton(text)
    except OSError:
        return
    try:
        host = addresses.host(text)
    except ValueError:
        return
    assert host == socket.inet_ntoa(packed)
