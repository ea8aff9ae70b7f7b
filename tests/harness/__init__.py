"""Real servers for tests, the demo and the benches: PostgreSQL with the plugin, a Kafka broker, and walferry."""

from harness.kafka import Kafka
from harness.postgres import Postgres
from harness.run import Interrupted, Run
from harness.walferry import Walferry

__all__ = ["Interrupted", "Kafka", "Postgres", "Run", "Walferry"]
