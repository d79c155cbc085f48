"""The launcher: private real servers on this machine, for tests, benchmarks and local runs."""

from tidings_local.servers.errors import ServerFailed, ServerMissing
from tidings_local.servers.folders import cache_folder
from tidings_local.servers.install import install_missing
from tidings_local.servers.kafka import Kafka
from tidings_local.servers.kafka_broker import Broker
from tidings_local.servers.kafka_security import Listener, Security
from tidings_local.servers.mariadb import MariaDB
from tidings_local.servers.ports import BrokerPorts
from tidings_local.servers.programs import missing
from tidings_local.servers.redis import Redis
from tidings_local.servers.server import Server

__all__ = [
    "Broker",
    "BrokerPorts",
    "Kafka",
    "Listener",
    "MariaDB",
    "Redis",
    "Security",
    "Server",
    "ServerFailed",
    "ServerMissing",
    "cache_folder",
    "install_missing",
    "missing",
]
