"""Diagnosis: why the brokers do not let us in, in words that name the setting to change.

An aiokafka client keeps the cause to itself: whatever it was, it is "unable to bootstrap", or is simply never done. So
once something has failed, each broker is asked by one bare connection, which says what it met.
"""

import asyncio
import ssl

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from tidings.kafka.settings import KafkaSettings

DEADLINE = 2.0
REFUSED_CERTIFICATES = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA")
"""How the TLS alerts end by which a server refuses the certificate of a client, or misses one (RFC 8446, 6.2)."""
WRONG_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


async def explain(settings: KafkaSettings, error: BaseException) -> str:
    """Return why Kafka is of no use at the moment, without any secret.

    Args:
        settings: by which the brokers were asked.
        error: what a client made of it; said when a broker lets us in, so that it must have been something else.
    """
    hosts = collect_hosts(settings.bootstrap_servers)
    answers = await asyncio.gather(*(_ask(settings, host, port) for host, port, _ in hosts))
    refusals = dict.fromkeys(answer for answer in answers if answer)
    reason = f"lets us in, then failed: {error!r}" if None in answers else "; ".join(refusals)
    return f"Kafka at {settings.bootstrap_servers}: {reason}"


async def _ask(settings: KafkaSettings, host: str, port: int) -> str | None:
    """Return why one broker does not let us in, or `None` when it does."""
    options = settings.client_options()
    del options["bootstrap_servers"]
    try:
        async with asyncio.timeout(DEADLINE):
            connection = await create_conn(host, port, **options)
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (KafkaError, OSError) as error:
        return _reason(settings, error)
    return None


def _reason(settings: KafkaSettings, error: Exception) -> str:
    protocol = f"TIDINGS_KAFKA_SECURITY_PROTOCOL={settings.security_protocol}"
    cause = error.__cause__ or error if isinstance(error, KafkaConnectionError) else error
    match cause:
        case SaslAuthenticationFailed():
            return "refuses TIDINGS_KAFKA_SASL_USERNAME or TIDINGS_KAFKA_SASL_PASSWORD"
        case UnsupportedSaslMechanismError():
            return f"does not take TIDINGS_KAFKA_SASL_MECHANISM={settings.sasl_mechanism}"
        case IllegalSaslStateError():
            return f"takes no password there, so {protocol} is wrong"
        case ssl.SSLCertVerificationError(verify_code=code) if code in WRONG_NAME:
            return f"its certificate is for another name (TIDINGS_KAFKA_BOOTSTRAP_SERVERS): {cause.verify_message}"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted (TIDINGS_KAFKA_SSL_CA_FILE): {cause.verify_message}"
        case ssl.SSLError(reason=str(alert)) if alert.endswith(REFUSED_CERTIFICATES):
            return f"refuses TIDINGS_KAFKA_SSL_CERTIFICATE_FILE, or misses it: {alert}"
        case ssl.SSLError() | EOFError() | ConnectionResetError() | KafkaConnectionError():
            return f"closes the connection; if it is not just stopping, its port does not speak {protocol}"
        case TimeoutError():
            return f"does not answer within {DEADLINE:.0f} s (TIDINGS_KAFKA_BOOTSTRAP_SERVERS)"
        case _:
            return f"does not answer (TIDINGS_KAFKA_BOOTSTRAP_SERVERS): {cause!r}"
