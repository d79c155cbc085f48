"""The launcher's Kafka files: fetched once by Maven into the cache, whole or not at all."""

import shutil
import tempfile
from pathlib import Path

from tidings_local.servers.command import run
from tidings_local.servers.errors import ServerMissing
from tidings_local.servers.folders import cache_folder

KAFKA_VERSION = "4.4.0"

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
    return _jars().is_dir()


def fetch_jars() -> Path:
    """The folder of Kafka's files, fetched if they are not there (43 MB, some seconds).

    Raises:
        ServerMissing: they are not there, and neither is Maven.
        ServerFailed: Maven failed; nothing is left behind.
    """
    if not jars_are_cached():
        maven = shutil.which("mvn")
        if maven is None:
            raise ServerMissing("Kafka is not installed: apt-get install maven")
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="kafka-") as unfinished:
            _publish(_download(maven, Path(unfinished)))
    return _jars()


def _jars() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def _download(maven: str, folder: Path) -> Path:
    (folder / "pom.xml").write_text(_POM)
    # Strict checksums: by default Maven only warns of a file that was damaged on its way.
    quiet = [maven, "-q", "-B", "--strict-checksums"]
    copy = ["dependency:copy-dependencies", "-DoutputDirectory=libs"]
    run("the download of Kafka", [*quiet, *copy], folder)
    return folder / "libs"


def _publish(libs: Path) -> None:
    try:
        libs.rename(_jars())
    except OSError:
        # Somebody else was faster; theirs is as good.
        if not jars_are_cached():
            raise
