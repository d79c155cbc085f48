"""Topics: makes the cluster's topics what the registry declares, and says where they differ. Never shrinks anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code
from pydantic import Field

from tidings.events.topics import REGISTRY, Topic
from tidings.kafka.dead_letters import SUFFIX
from tidings.kafka.diagnosis import explain
from tidings.kafka.settings import KafkaSettings
from tidings.settings import Group, Settings, group

DAY_MS = 24 * 60 * 60 * 1000
RETENTION = "retention.ms"
MIN_INSYNC = "min.insync.replicas"


class ReplicationSettings(Group):
    """How many copies this environment keeps."""

    replication: int = Field(default=3, ge=1, le=10, description="replicas of each partition")
    min_insync: int = Field(default=2, ge=1, le=10, description="replicas that must have a record before it counts")


class TopicsSettings(Settings):
    """What `topics` needs to know."""

    kafka: KafkaSettings = group()
    topics: ReplicationSettings = group()


class TopicsUnavailable(Exception):
    """The cluster does not answer, or refused a change; the message says which."""


@dataclass(frozen=True)
class Wanted:
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    configs: dict[str, str]


@dataclass(frozen=True)
class Found:
    """A topic as it is."""

    partitions: int
    replication: int
    configs: dict[str, str]


def wanted_topics(settings: ReplicationSettings) -> list[Wanted]:
    """Return every topic of the registry and its dead-letter topic."""

    def wanted(topic: Topic, suffix: str, days: int) -> Wanted:
        configs = {RETENTION: str(days * DAY_MS), MIN_INSYNC: str(min(settings.min_insync, settings.replication))}
        return Wanted(topic.name + suffix, topic.partitions, settings.replication, configs)

    return [
        one
        for topic in REGISTRY.values()
        for one in (wanted(topic, "", topic.retention_days), wanted(topic, SUFFIX, topic.dead_letter_days))
    ]


class Topics:
    """The topics of one cluster; a context manager that connects and closes.

    Args:
        settings: where the cluster is, and how many copies it keeps.
    """

    def __init__(self, settings: TopicsSettings) -> None:
        self._wanted = wanted_topics(settings.topics)
        self._settings = settings.kafka
        self._admin = AIOKafkaAdminClient(**settings.kafka.client_options())

    async def __aenter__(self) -> "Topics":
        try:
            await self._admin.start()
        except (KafkaError, OSError) as error:
            await self._admin.close()
            raise TopicsUnavailable(await explain(self._settings, error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def differences(self) -> list[str]:
        """Return one line for each difference between the cluster and the registry."""
        found = await self._found()
        return [line for wanted in self._wanted for line in _compare(wanted, found.get(wanted.name))]

    async def listing(self) -> list[str]:
        """Return one line for each topic of the registry, as the cluster has it."""
        found = await self._found()
        return [_describe(wanted.name, found.get(wanted.name)) for wanted in self._wanted]

    async def apply(self) -> list[str]:
        """Make missing topics, add missing partitions, set configurations; return what was done.

        Raises:
            TopicsUnavailable: the cluster refused a change.
        """
        found = await self._found()
        done: list[str] = []
        try:
            for wanted in self._wanted:
                done += await self._mend(wanted, found.get(wanted.name))
        except (KafkaError, OSError) as error:
            raise TopicsUnavailable(f"the cluster did not do it: {error!r}; done so far: {done}") from error
        return done

    async def _mend(self, wanted: Wanted, found: Found | None) -> list[str]:
        if found is None:
            new = NewTopic(wanted.name, wanted.partitions, wanted.replication, topic_configs=wanted.configs)
            answer = await self._admin.create_topics([new])
            _raise_refusals(answer.topic_errors)
            return [f"{wanted.name}: made with {wanted.partitions} partitions"]
        done: list[str] = []
        if found.partitions < wanted.partitions:
            answer = await self._admin.create_partitions({wanted.name: NewPartitions(wanted.partitions)})
            _raise_refusals(answer.topic_errors)
            grown = f"{found.partitions} partitions grew to {wanted.partitions}, so keys change their partitions"
            done.append(f"{wanted.name}: {grown}")
        changed = {name: value for name, value in wanted.configs.items() if found.configs.get(name) != value}
        if changed:
            # The call replaces all settings of the topic: those that somebody else made are given again.
            configs = found.configs | wanted.configs
            answers = await self._admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, wanted.name, configs)])
            for answer in answers:
                _raise_refusals([(name, code, text) for code, text, _, name in answer.resources])
            done += [f"{wanted.name}: {name} is now {value}" for name, value in changed.items()]
        return done

    async def _found(self) -> dict[str, Found]:
        try:
            # Asking for a topic by its name would make it, where the broker makes topics by itself.
            names = {wanted.name for wanted in self._wanted}
            there = [topic for topic in await self._admin.describe_topics() if topic["topic"] in names]
            configs = await self._configs([topic["topic"] for topic in there])
        except (KafkaError, OSError) as error:
            raise TopicsUnavailable(f"the cluster does not tell of its topics: {error}") from error
        return {
            topic["topic"]: Found(
                partitions=len(topic["partitions"]),
                replication=min(len(partition["replicas"]) for partition in topic["partitions"]),
                configs=configs.get(topic["topic"], {}),
            )
            for topic in there
        }

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the settings that each topic has of its own."""
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = await self._admin.describe_configs(resources)
        for answer in answers:  # what is not known would be overwritten
            _raise_refusals([(name, code, text) for code, text, _, name, *_ in answer.resources])
        found: dict[str, dict[str, str]] = {}
        for answer in answers:
            for resource in answer.to_object()["resources"]:
                own = [entry for entry in resource["config_entries"] if _is_own(entry)]
                found[resource["resource_name"]] = {entry["config_names"]: entry["config_value"] for entry in own}
        return found


def _is_own(entry: dict[str, Any]) -> bool:
    """Tell whether a setting was made for the topic (source 1), not inherited from the broker."""
    return bool(entry.get("config_source") == 1 or entry.get("is_default") is False)


def _compare(wanted: Wanted, found: Found | None) -> list[str]:
    if found is None:
        return [f"{wanted.name}: is missing"]
    lines = []
    if found.partitions != wanted.partitions:
        lines.append(f"{wanted.name}: has {found.partitions} partitions, the registry says {wanted.partitions}")
    if found.replication != wanted.replication:
        lines.append(f"{wanted.name}: has {found.replication} replicas, the settings say {wanted.replication}")
    for name, value in wanted.configs.items():
        if found.configs.get(name) != value:
            lines.append(f"{wanted.name}: {name} is {found.configs.get(name, 'the default')}, should be {value}")
    return lines


def _describe(name: str, found: Found | None) -> str:
    if found is None:
        return f"{name:<28} missing"
    configs = " ".join(f"{key}={value}" for key, value in sorted(found.configs.items()))
    return f"{name:<28} partitions={found.partitions} replicas={found.replication} {configs}"


def _raise_refusals(errors: Sequence[Any]) -> None:
    """Raise for every topic that the cluster refused; one that somebody else made meanwhile is fine."""
    for name, code, *message in errors:
        if code not in (0, 36):  # 36: the topic exists
            raise TopicsUnavailable(f"{name}: {for_code(code).__name__} {message[0] if message else ''}".strip())
