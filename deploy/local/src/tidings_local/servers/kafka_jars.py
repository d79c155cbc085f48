"""The launcher's Kafka files: fetched once by Maven into the cache, whole or not at all."""

import shutil
from pathlib import Path

from tidings_local.servers.command import run
from tidings_local.servers.errors import ServerMissing
from tidings_local.servers.folders import cache_folder, cached

KAFKA_VERSION = "4.4.0"
_FOLDER = f"kafka-{KAFKA_VERSION}"

# Kafka brings no writer for its log: slf4j-simple, of the version of Kafka's slf4j-api.
_POM = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidings</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def jars_are_cached() -> bool:
    """Whether Kafka's files are there, so that Maven is not needed."""
    return (cache_folder() / _FOLDER).is_dir()


def fetch_jars() -> Path:
    """The folder of Kafka's files, fetched if they are not there (43 MB, some seconds).

    Raises:
        ServerMissing: they are not there, and neither is Maven.
        ServerFailed: Maven failed; nothing is left behind.
    """
    return cached(_FOLDER, _download)


def _download(folder: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerMissing("Kafka is not installed: apt-get install maven")
    (folder / "pom.xml").write_text(_POM)
    # Strict checksums: by default Maven only warns of a file that was damaged on its way.
    quiet = [maven, "-q", "-B", "--strict-checksums"]
    copy = ["dependency:copy-dependencies", "-DoutputDirectory=libs"]
    run("the download of Kafka", [*quiet, *copy], folder)
    return folder / "libs"
