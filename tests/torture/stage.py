"""The servers of a torture: PostgreSQL and Kafka, each behind a proxy, and a reader of everything that reaches the topics."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from topic_checker import Checker
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from harness import Kafka, Postgres, Run
from harness.proxy import Proxy
from harness.run import BUILD, free_port, wait_until

FAIL_POINT_BINARY = BUILD / "failpoints" / "walferry"


def fail_point_binary() -> Path:
    """The command with the fail points in it."""
    if not FAIL_POINT_BINARY.is_file():
        raise RuntimeError(f"{FAIL_POINT_BINARY} is not there; run: make failpoints")
    return FAIL_POINT_BINARY


class Stage:
    """Started when it is made. The shipper reaches both servers by way of the proxies only; writers and checker go there
    directly. With more ways to the broker than one, Kafka can be away for some tasks and there for others."""

    def __init__(self, run: Run, *, broker_ways: int = 1, settings: Mapping[str, Any] | None = None,
                 fsync: bool = True) -> None:
        self.run = run
        # Large transactions are streamed. A COMMIT takes a while, so that a crash leaves some without an answer.
        self.server = Postgres(run, {"logical_decoding_work_mem": "256kB", "deadlock_timeout": "100ms",
                                     "max_wal_size": "2GB", "tcp_user_timeout": "5s", "commit_delay": 3000,
                                     "commit_siblings": 0, **(settings or {})}, fsync=fsync)
        self.server.install_walferry()
        self.server.start()
        self.server_proxy = Proxy(self.server.port)
        run.at_close(self.server_proxy.close)
        self.broker = Kafka(run, {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
                                  "log.segment.bytes": 256 * 1024 * 1024, "socket.request.max.bytes": 256 * 1024 * 1024,
                                  "message.max.bytes": 16 * 1024 * 1024}, heap="1g")
        properties = self.broker.properties
        properties["listener.security.protocol.map"] = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
        self.broker_proxies: list[Proxy] = []
        for way in range(broker_ways):
            behind = free_port()
            proxy = Proxy(behind)
            run.at_close(proxy.close)
            self.broker_proxies.append(proxy)
            properties["listeners"] += f",PROXIED{way}://127.0.0.1:{behind}"
            properties["advertised.listeners"] += f",PROXIED{way}://127.0.0.1:{proxy.port}"
            properties["listener.security.protocol.map"] += f",PROXIED{way}:PLAINTEXT"
        self.broker_proxy = self.broker_proxies[0]
        self.broker.start(auto_create_topics_enable="false")

    @property
    def brokers(self) -> str:
        """Where the shipper finds Kafka."""
        return f"127.0.0.1:{self.broker_proxy.port}"

    def mend(self) -> None:
        """Everything is there again, whatever a fault has left."""
        for proxy in (self.server_proxy, *self.broker_proxies):
            proxy.refuse(False)
            proxy.flow()
            proxy.fast()
        if not self.server.running():
            self.server.start()
        if not self.broker.running():
            self.broker.start()


class Reader:
    """Reads all topics with a prefix from their beginning, as a consumer without a group, and gives what comes to the
    checker. follow() does so in a thread of its own while the topics are written to."""

    def __init__(self, broker: Kafka, prefix: str, isolation: str, checker: Checker) -> None:
        self._broker = broker
        self._prefix = prefix
        self._checker = checker
        self._consumer: Any = Consumer({
            "bootstrap.servers": broker.brokers, "group.id": f"torture-{prefix}", "enable.auto.commit": False,
            "isolation.level": isolation, "enable.partition.eof": True, "auto.offset.reset": "error",
            "reconnect.backoff.max.ms": 500, "fetch.wait.max.ms": 50, "queued.max.messages.kbytes": 16384,
            "logger": silent_logger()})
        self._reached: dict[tuple[str, int], int] = {}  # partition to the offset that is read up to
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    @contextlib.contextmanager
    def follow(self) -> Iterator["Reader"]:
        self._thread = threading.Thread(target=self._follow, name="reader", daemon=True)
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join(60)
            self._consumer.close()

    def _follow(self) -> None:
        try:
            looked = 0.0
            while not self._ended.is_set():
                with self._lock:
                    if time.monotonic() - looked > 1.0:
                        with contextlib.suppress(KafkaException):  # the broker may be away
                            self._look_for_partitions(timeout=1.0)
                        looked = time.monotonic()
                    taken = self._consume(0.05)
                if taken == 0:
                    self._ended.wait(0.1)
        except BaseException as failure:
            self.failure = failure
            raise

    def close(self) -> None:
        """Of a reader that does not follow."""
        self._consumer.close()

    def read_to_end(self, timeout: float = 120.0) -> None:
        """Reads what a reader of this isolation level can read now."""
        with self._lock:
            self._look_for_partitions(timeout=10.0)
            ends = {name: self._consumer.get_watermark_offsets(TopicPartition(*name), timeout=10)[1] for name in self._reached}

            def reached() -> bool:
                self._consume(0.05)
                return all(self._reached[name] >= end for name, end in ends.items())

            wait_until(reached, "the end of the topics", timeout, interval=0)
        if self.failure is not None:
            raise RuntimeError("the reader failed") from self.failure

    def _look_for_partitions(self, timeout: float) -> None:
        new = []
        for name, topic in self._consumer.list_topics(timeout=timeout).topics.items():
            if not name.startswith(self._prefix):
                continue
            new += [(name, partition) for partition in topic.partitions if (name, partition) not in self._reached]
        if new:
            self._reached.update(dict.fromkeys(new, 0))
            self._consumer.assign([TopicPartition(*name, offset) for name, offset in self._reached.items()])

    def _consume(self, wait: float) -> int:
        messages = self._consumer.consume(5000, timeout=wait)
        for message in messages:
            error = message.error()
            name = message.topic(), message.partition()
            if error is None:
                position = dict(message.headers())["walferry.position"].decode("ascii")
                self._checker.take(*name, message.offset(), position, message.value())
                self._reached[name] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached[name] = max(self._reached[name], message.offset())
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
        return len(messages)


def silent_logger() -> logging.Logger:
    """librdkafka complains while the broker is away, which is on purpose."""
    logger = logging.getLogger("torture.silent")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    return logger
