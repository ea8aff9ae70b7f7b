"""A real Apache Kafka broker: one KRaft process, broker and controller in one, from the jars of build/kafka/libs."""

import base64
import contextlib
import functools
import json
import logging
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from harness.run import BUILD, Process, Run, free_port, wait_until

LIBRARIES = BUILD / "kafka" / "libs"
_SILENT = logging.getLogger("walferry.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_STARTED = re.compile(r"Kafka Server started")


@dataclass(frozen=True)
class Record:
    """One record as it stands in a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return None if self.value is None else json.loads(self.value)

    @property
    def header(self) -> dict[str, bytes]:
        return dict(self.headers)


def _java(*arguments: str, heap: str, folder: Path) -> list[str]:
    """`folder` takes what the process unpacks, so that a killed one leaves nothing behind."""
    if not LIBRARIES.is_dir():
        raise RuntimeError(f"{LIBRARIES} is not there; run: make deps")
    log_settings = Path(__file__).with_name("log4j2.properties")
    return ["java", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:-UsePerfData", "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={folder}", f"-Dlog4j2.configurationFile={log_settings.as_uri()}",
            "-cp", f"{LIBRARIES}/*", *arguments]


def new_cluster_id() -> str:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
    return "k" + cluster[1:]  # an id that begins with "-" would be taken for an option


class Kafka:
    """Created stopped, with formatted storage; start() it. Ports and data stay the same over restarts.

    properties: further broker properties; format_arguments: for StorageTool (--add-scram …); client: what clients
    of this harness need in addition to the address (sasl.*). port and cluster_id: given to a node of a cluster,
    whose fellows have to know them.
    """

    def __init__(self, run: Run, properties: Mapping[str, Any] | None = None, *, heap: str = "512m",
                 format_arguments: Sequence[str] = (), client: Mapping[str, Any] | None = None,
                 port: int | None = None, cluster_id: str | None = None) -> None:
        self._run = run
        self._heap = heap
        self.port = port or free_port()
        self.brokers = f"127.0.0.1:{self.port}"
        # Tests stop brokers on purpose: librdkafka's complaints about it would only drown what matters.
        self._client = {"bootstrap.servers": self.brokers, "reconnect.backoff.max.ms": 200, "logger": _SILENT,
                        **(client or {})}
        self._process: Process | None = None
        self._log_start = 0
        folder = run.subfolder("kafka")
        self.log_file = folder / "broker.log"
        self.log_file.touch()
        self._properties_file = folder / "server.properties"
        controller = free_port()
        self.properties: dict[str, Any] = {
            "node.id": 1, "process.roles": "broker,controller",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"PLAINTEXT://{self.brokers},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.brokers}",
            "log.dirs": folder / "data", "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4, "group.initial.rebalance.delay.ms": 0,
            # a killed broker may come back when its session has expired: 9 s by default
            "broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500,
            "log.cleaner.dedupe.buffer.size": 8388608, "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            **(properties or {}),
        }
        self._write_properties()
        self.tool("kafka.tools.StorageTool", "format", "-t", cluster_id or new_cluster_id(), "-c",
                  str(self._properties_file), *format_arguments)

    def _write_properties(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.properties.items()]
        self._properties_file.write_text("".join(lines), encoding="utf-8")

    def tool(self, main_class: str, *arguments: str) -> str:
        """Runs one of Kafka's own tools by its main class; its output."""
        done = subprocess.run(_java(main_class, *arguments, heap="128m", folder=self._properties_file.parent),
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{main_class} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    # --- starting and stopping ---

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the broker is not running")
        return self._process.pid

    def start(self, timeout: float = 90.0, **properties: Any) -> "Kafka":
        """Starts the broker and waits until it serves; properties (with _ for .) are kept for later starts."""
        self.launch(**properties)
        self.wait_ready(timeout)
        return self

    def launch(self, **properties: Any) -> None:
        """The first half of start(), for doing something else meanwhile."""
        if properties:
            self.properties.update({name.replace("_", "."): value for name, value in properties.items()})
            self._write_properties()
        self._log_start = self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            self._process = self._run.start(_java("kafka.Kafka", str(self._properties_file), heap=self._heap,
                                                  folder=self._properties_file.parent),
                                            stdout=log, stderr=log, end_signal=signal.SIGKILL, cwd="/")

    def wait_ready(self, timeout: float = 90.0) -> None:
        wait_until(self._ready, "Kafka to start", timeout)

    def _ready(self) -> bool:
        if not self.running():
            raise RuntimeError(f"Kafka did not start:\n{self.log()[-4000:]}")
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return _STARTED.search(log.read().decode("utf-8", errors="replace")) is not None

    def stop(self, timeout: float = 60.0) -> None:
        """A clean shutdown."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM, timeout)
            self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """Within this the broker's process stands still; its connections stay."""
        if self._process is None:
            raise RuntimeError("the broker is not running")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def restart(self, **properties: Any) -> None:
        self.stop()
        self.start(**properties)

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    # --- topics and records ---

    @functools.cached_property
    def admin(self) -> Any:
        """A confluent_kafka.admin.AdminClient; its futures fail once it is gone, so it is kept."""
        return AdminClient(self._client)

    def topics(self) -> list[str]:
        """Names of the topics, internal ones left out."""
        return sorted(name for name in self.admin.list_topics(timeout=10).topics if not name.startswith("__"))

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None,
                     replication: int = 1) -> None:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=dict(config or {}))
        self.admin.create_topics([topic])[name].result(timeout=30)
        wait_until(lambda: len(self._partitions(name)) == partitions, f"topic {name}", 30)

    def delete_topic(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(timeout=30)
        wait_until(lambda: name not in self.topics(), f"topic {name} to go away", 30)

    def create_progress_topic(self, task: str) -> None:
        """What a task needs that may create no topic itself."""
        self.create_topic(f"walferry.progress.{task}", config={"cleanup.policy": "compact"})

    def add_partitions(self, name: str, total: int) -> None:
        self.admin.create_partitions([NewPartitions(name, total)])[name].result(timeout=30)
        wait_until(lambda: len(self._partitions(name)) == total, f"{total} partitions of topic {name}", 30)

    def topic_config(self, name: str) -> dict[str, str]:
        """The topic's settings, defaults included."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        found = self.admin.describe_configs([resource])[resource].result(timeout=30)
        return {entry.name: entry.value for entry in found.values()}

    def produce(self, topic: str, key: str, value: Any) -> None:
        """One record; what is not bytes goes as JSON."""
        producer = Producer(self._client)
        producer.produce(topic, value if isinstance(value, bytes) else json.dumps(value), key)
        if producer.flush(30) != 0:
            raise RuntimeError(f"the record did not reach topic {topic}")

    def fence(self, transactional_id: str) -> None:
        """Takes the transactional id away from whoever has it."""
        Producer({**self._client, "transactional.id": transactional_id}).init_transactions(30)

    def _partitions(self, topic: str) -> list[int]:
        found = self.admin.list_topics(topic, timeout=10).topics.get(topic)
        return sorted(found.partitions) if found is not None and found.error is None else []

    def consumer(self, **settings: Any) -> Any:
        """A confluent_kafka.Consumer of its own group; settings with _ for the dots."""
        return Consumer({**self._client, "group.id": f"walferry-tests-{uuid.uuid4()}", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest",
                         **{name.replace("_", "."): value for name, value in settings.items()}})

    def end_offsets(self, topic: str, isolation: str = "read_uncommitted") -> dict[int, int]:
        """The offset after the last record of each partition, committed or not; with read_committed that of the first
        one that is still open. Empty when there is no such topic."""
        consumer = self.consumer(isolation_level=isolation)
        try:
            return {partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
                    for partition in self._partitions(topic)}
        finally:
            consumer.close()

    def consume(self, topic: str, isolation: str = "read_committed", timeout: float = 60.0) -> list[Record]:
        """All records that stand in the topic now, partition by partition in offset order."""
        partitions = self._partitions(topic)
        if not partitions:
            return []
        consumer = self.consumer(isolation_level=isolation, enable_partition_eof=True, fetch_wait_max_ms=50)
        records: list[Record] = []
        finished: set[int] = set()
        # The end as it is now: that of a topic which is being written to is never reached otherwise.
        ends: dict[int, int] = {}

        def all_read() -> bool:
            for message in consumer.consume(10000, timeout=0.1):
                error = message.error()
                if error is None:
                    records.append(_record(message))
                    if message.offset() + 1 >= ends[message.partition()]:
                        finished.add(message.partition())
                elif error.code() == KafkaError._PARTITION_EOF:
                    finished.add(message.partition())
                else:
                    raise KafkaException(error)
            return len(finished) == len(partitions)

        try:
            for partition in partitions:
                ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            wait_until(all_read, f"the end of topic {topic}", timeout, interval=0)
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def wait_records(self, topic: str, count: int, timeout: float = 60.0) -> list[Record]:
        """All records of the topic, once there are at least `count`."""
        found: list[Record] = []

        def enough() -> bool:
            try:
                if sum(self.end_offsets(topic).values()) < count:
                    return False
            except KafkaException:  # a partition of a new topic has no leader yet
                return False
            found[:] = self.consume(topic)
            return len(found) >= count

        wait_until(enough, f"{count} records in topic {topic} (there are {len(found)})", timeout, interval=0.05)
        return found


def _record(message: Any) -> Record:
    return Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1], message.key(),
                  message.value(), list(message.headers() or []))
