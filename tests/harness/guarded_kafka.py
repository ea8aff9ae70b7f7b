"""A broker that asks who is there: next to the plain listener one behind a proxy, one with SASL, one with TLS; and
topics that only some may write to."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType,
                                   ResourceType)

from harness.kafka import Kafka
from harness.proxy import Proxy
from harness.run import Run, free_port

USER, PASSWORD = "writer", "right-one"
_STORE_PASSWORD = "changeit"


@dataclass(frozen=True)
class GuardedKafka:
    broker: Kafka  # its own address is plain, and may do everything
    proxy: Proxy
    proxied: str  # plain too, by way of the proxy
    sasl: str  # SASL_PLAINTEXT, mechanism PLAIN; the user may do what allow() says
    tls: str
    certificate: Path  # of the TLS listener, by which a client may trust it

    def allow(self, topic: str, *operations: AclOperation) -> None:
        """Lets USER do this with the topic; only Describe lets nothing be written."""
        rules = [AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation,
                            AclPermissionType.ALLOW) for operation in operations]
        for future in self.broker.admin.create_acls(rules).values():
            future.result(timeout=30)

    def allow_progress(self, task: str) -> None:
        """Lets USER keep the progress of the task."""
        self.allow(f"walferry.progress.{task}", AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE,
                   AclOperation.CREATE)

    def allow_transactions(self, transactional_id: str) -> None:
        """Lets USER have producers with the id."""
        rules = [AclBinding(ResourceType.TRANSACTIONAL_ID, transactional_id, ResourcePatternType.LITERAL, f"User:{USER}",
                            "*", operation, AclPermissionType.ALLOW)
                 for operation in (AclOperation.WRITE, AclOperation.DESCRIBE)]
        for future in self.broker.admin.create_acls(rules).values():
            future.result(timeout=30)

    def withdraw(self, topic: str) -> None:
        """Takes back all that allow() gave for the topic."""
        rules = AclBindingFilter(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{USER}", None,
                                 AclOperation.ANY, AclPermissionType.ANY)
        for future in self.broker.admin.delete_acls([rules]).values():
            future.result(timeout=30)


def start_guarded_kafka(run: Run) -> GuardedKafka:
    broker = Kafka(run, heap="384m")
    folder = run.subfolder("guarded")
    store, certificate = folder / "broker.p12", folder / "broker.pem"
    _keytool("-genkeypair", "-keyalg", "EC", "-validity", "2", "-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1",
             store=store)
    _keytool("-exportcert", "-rfc", "-file", str(certificate), store=store)
    behind, sasl, tls = free_port(), free_port(), free_port()
    proxy = Proxy(behind)
    run.at_close(proxy.close)
    listeners = f"SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}"
    broker.properties.update({
        "listeners": f"{broker.properties['listeners']},PROXIED://127.0.0.1:{behind},{listeners}",
        "advertised.listeners":
            f"{broker.properties['advertised.listeners']},PROXIED://127.0.0.1:{proxy.port},{listeners}",
        "listener.security.protocol.map":
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config":
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";',
        "ssl.keystore.location": store, "ssl.keystore.type": "PKCS12", "ssl.keystore.password": _STORE_PASSWORD,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    })
    broker.start(auto_create_topics_enable="false")
    return GuardedKafka(broker, proxy, f"127.0.0.1:{proxy.port}", f"127.0.0.1:{sasl}", f"127.0.0.1:{tls}", certificate)


def _keytool(*arguments: str, store: Path) -> None:
    command = ["keytool", *arguments, "-alias", "broker", "-keystore", str(store), "-storetype", "PKCS12",
               "-storepass", _STORE_PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"keytool failed:\n{done.stdout}{done.stderr}")
