"""Three real brokers on loopback, each a controller too: leaders move, replicas fall behind, coordinators change."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import NewTopic

from harness.kafka import Kafka, new_cluster_id
from harness.run import Run, free_port, wait_until

SIZE = 3


class KafkaCluster:
    """Created stopped; start() it. Topics have a copy on each broker, and two must have a record before it counts.

    Two of the three make the quorum of controllers. The functions about topics and records are those of `view`.
    """

    def __init__(self, run: Run, heap: str = "256m") -> None:
        ports = [free_port() for _ in range(SIZE)]
        controllers = [free_port() for _ in range(SIZE)]
        self.brokers = ",".join(f"127.0.0.1:{port}" for port in ports)
        cluster_id = new_cluster_id()
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        common: dict[str, Any] = {
            "controller.quorum.voters": voters, "default.replication.factor": SIZE, "min.insync.replicas": 2,
            "offsets.topic.replication.factor": SIZE, "transaction.state.log.replication.factor": SIZE,
            "transaction.state.log.min.isr": 2, "share.coordinator.state.topic.replication.factor": SIZE,
            "share.coordinator.state.topic.min.isr": 2, "auto.leader.rebalance.enable": "false",
            # A killed broker loses its leaderships when its session is over.
            "broker.session.timeout.ms": 2000,
            # A transaction whose time is over is looked for every ten seconds by default.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            "num.network.threads": 2, "num.io.threads": 4, "num.replica.fetchers": 1,
        }
        self.nodes: list[Kafka] = []
        for number, (port, controller) in enumerate(zip(ports, controllers), 1):
            listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"
            self.nodes.append(Kafka(run, {**common, "node.id": number, "listeners": listeners}, heap=heap, port=port,
                                    cluster_id=cluster_id, client={"bootstrap.servers": self.brokers}))

    @property
    def view(self) -> Kafka:
        """Sees the topics of the whole cluster, whichever broker is up."""
        return self.nodes[0]

    def start(self, timeout: float = 90.0) -> "KafkaCluster":
        """Starts the brokers that are not running; returns when all serve and every copy has caught up."""
        down = [node for node in self.nodes if not node.running()]
        for node in down:
            node.launch()
        for node in down:
            node.wait_ready(timeout)
        self.wait_in_sync(timeout=timeout)
        return self

    def stop(self) -> None:
        """Without ceremony: a quorum that is going away has nobody to hand leaderships to."""
        for node in self.nodes:
            node.kill()

    def create_topic_on(self, node: Kafka, name: str) -> None:
        """A topic with one partition that has its only copy on that broker."""
        topic = NewTopic(name, num_partitions=1, replica_assignment=[[node.properties["node.id"]]],
                         config={"min.insync.replicas": "1"})
        self.view.admin.create_topics([topic])[name].result(timeout=30)
        wait_until(lambda: (name, 0) in self._partitions(), f"topic {name}", 30)

    # --- who leads, and who has kept up ---

    def _brokers_known(self) -> int:
        try:
            return len(self.view.admin.list_topics(timeout=5).brokers)
        except KafkaException:
            return 0

    def _partitions(self) -> dict[tuple[str, int], Any]:
        """Metadata (leader, replicas, isrs) of each partition, internal topics included; empty when nobody answers."""
        try:
            topics = self.view.admin.list_topics(timeout=5).topics
        except KafkaException:
            return {}
        return {(name, number): partition for name, topic in topics.items()
                for number, partition in topic.partitions.items()}

    def leader(self, topic: str, partition: int = 0) -> Kafka:
        """The broker that leads the partition, once there is one that runs."""
        found: list[Kafka] = []

        def known() -> bool:
            entry = self._partitions().get((topic, partition))
            found[:] = [self.nodes[entry.leader - 1]] if entry is not None and entry.leader > 0 else []
            return bool(found) and found[0].running()

        wait_until(known, f"a leader of {topic}-{partition}", 30)
        return found[0]

    def followers(self, topic: str, partition: int = 0) -> list[Kafka]:
        leader = self.leader(topic, partition)
        return [node for node in self.nodes if node is not leader]

    def in_sync(self, topic: str, partition: int = 0) -> int:
        """How many copies of the partition have kept up, as far as the controller knows."""
        entry = self._partitions().get((topic, partition))
        return len(entry.isrs) if entry is not None else 0

    def wait_in_sync(self, topics: Iterable[str] = (), timeout: float = 60.0) -> None:
        """Waits until every copy of the topics' partitions (default: of all) has caught up."""
        wanted = set(topics)

        def caught_up() -> bool:
            partitions = self._partitions()
            return (self._brokers_known() == SIZE and wanted <= {topic for topic, _ in partitions} and
                    all(entry.leader > 0 and len(entry.isrs) == len(entry.replicas)
                        for (topic, _), entry in partitions.items() if not wanted or topic in wanted))

        wait_until(caught_up, "all copies to catch up", timeout, interval=0.1)

    def hand_back_leaderships(self) -> None:
        """Each partition is led by the first of its replicas again, as when a restarted broker takes its share."""
        self.view.admin.elect_leaders(ElectionType.PREFERRED, None).result(timeout=30)

    def transaction_coordinator(self, transactional_id: str) -> Kafka:
        """The broker that keeps the state of a transactional producer: the leader of its partition of Kafka's log."""
        count = sum(topic == "__transaction_state" for topic, _ in self._partitions())
        return self.leader("__transaction_state", abs(_java_hash(transactional_id)) % count)


def _java_hash(text: str) -> int:
    """String.hashCode(), by which Kafka chooses a coordinator's partition."""
    value = 0
    units = text.encode("utf-16-be")
    for high, low in zip(units[0::2], units[1::2]):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
