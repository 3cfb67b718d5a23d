"""
The examples for clusters and for Compose: rendered by kubectl, checked by the schemas of
Kubernetes' releases, and compared with the configurations that they serve.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import Settings
from tests.support.needs import locate, missing
from tests.support.polling import DEADLINE
from tests.support.source_tree import ROOT

EXAMPLES = ROOT / "etc" / "kubernetes"
COMPOSE = ROOT / "etc" / "compose.yaml"

#: The first release whose balancers may have TCP and UDP at one address, a later one, the newest.
RELEASES = ("1.26", "1.32", "1.37")

#: The volumes of a pod that the restricted standard allows, among others.
HARMLESS = {"configMap", "emptyDir"}


def parsed(text: str) -> list[Any]:
    """Parse the documents of a YAML file."""
    try:
        yaml: Any = import_module("yaml")
    except ModuleNotFoundError:
        raise missing("PyYAML", "make interop installs it") from None
    return list(yaml.safe_load_all(text))


def ports_of(settings: Settings) -> set[tuple[int, str]]:
    """List the ports of a configuration, with the name that Kubernetes has for the kind."""
    listeners = [listener for service in settings.services for listener in service.listeners]
    listeners += [] if settings.http is None else [settings.http]
    return {(one.port, one.kind.upper().removesuffix("6")) for one in listeners if one.port}


def _settings(file: Path) -> Settings:
    return parse(file.read_text(), str(file), installed(), "/run/socketd/own")


class ClusterTests(SynchronousTestCase):
    """Tests for C{etc/kubernetes}."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        shutil.copytree(EXAMPLES, self.directory)
        self.settings = _settings(EXAMPLES / "socketd.ini")

    def rendered(self) -> str:
        """Have kubectl put the files together."""
        command = [locate("kubectl"), "kustomize", str(self.directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def found(self, kind: str, name: str = "socketd") -> Any:
        """Find one of the rendered objects."""
        (one,) = [
            document
            for document in parsed(self.rendered())
            if (document["kind"], document["metadata"]["name"]) == (kind, name)
        ]
        return one["spec"]

    def pod(self) -> Any:
        return self.found("Deployment")["template"]["spec"]

    def test_schemas(self) -> None:
        """Every object is right by the schemas of each release, without an unknown field."""
        program = Path(sys.executable).with_name("kubernetes-validate")
        if not program.exists():
            raise missing("kubernetes-validate", "make interop installs it")
        file = self.directory / "all.yaml"
        file.write_text(self.rendered())
        for release in RELEASES:
            command = [str(program), "--kubernetes-version", release, "--strict", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=4 * DEADLINE)
            said = done.stdout + done.stderr
            self.assertEqual((done.returncode, said.count(" passed ")), (0, 7), said)

    def test_ports(self) -> None:
        """
        What the configuration listens at, the container has, the services reach, and the network
        policy lets in.
        """
        (container,) = self.pod()["containers"]
        named = container["ports"]
        ports = {one["name"]: (one["containerPort"], one["protocol"]) for one in named}
        self.assertEqual(set(ports.values()), ports_of(self.settings))
        for name in ("socketd", "socketd-http"):
            for one in self.found("Service", name)["ports"]:
                self.assertEqual((one["port"], one["protocol"]), ports.pop(one["targetPort"]))
        self.assertEqual(ports, {})
        policy = self.found("NetworkPolicy")
        let_in = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
        self.assertEqual(sorted(let_in), sorted(one["name"] for one in named))

    def test_restricted(self) -> None:
        """A pod is what the restricted standard wants, which its namespace enforces."""
        pod = self.pod()
        (container,) = pod["containers"]
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        rights = container["securityContext"]
        self.assertEqual(rights["capabilities"], {"drop": ["ALL"]})
        self.assertFalse(rights["allowPrivilegeEscalation"])
        self.assertTrue(rights["readOnlyRootFilesystem"])
        kinds = {kind for volume in pod["volumes"] for kind in volume} - {"name"}
        self.assertEqual(kinds, HARMLESS)
        text = (EXAMPLES / "namespace.yaml").read_text()
        self.assertIn("pod-security.kubernetes.io/enforce: restricted", text)

    def test_time_to_stop(self) -> None:
        """A pod may finish what its configuration lets it."""
        grace = self.pod()["terminationGracePeriodSeconds"]
        self.assertGreater(grace, 5 + self.settings.daemon.drain_timeout)

    def test_monitor(self) -> None:
        """With the operator of Prometheus one line more is rendered, which finds the page."""
        file = self.directory / "kustomization.yaml"
        file.write_text(file.read_text().replace("# - service-monitor", "- service-monitor"))
        monitor = self.found("ServiceMonitor")
        documents = parsed(self.rendered())
        wanted = monitor["selector"]["matchLabels"].items()
        services = [one for one in documents if one["kind"] == "Service"]
        (service,) = [one for one in services if wanted <= one["metadata"]["labels"].items()]
        named = [port["name"] for port in service["spec"]["ports"]]
        self.assertEqual([one["port"] for one in monitor["endpoints"]], named)


class ComposeTests(SynchronousTestCase):
    """Tests for C{etc/compose.yaml}."""

    def test_ports(self) -> None:
        """Each port that it publishes is one of the default file, or the page's."""
        default = _settings(ROOT / "etc" / "socketd.ini")
        known = ports_of(default) | {(9155, "TCP")}
        (document,) = parsed(COMPOSE.read_text())
        service = document["services"]["socketd"]
        for text in service["ports"]:
            address, _, kind = text.partition("/")
            port = int(address.rpartition(":")[2])
            self.assertIn((port, (kind or "tcp").upper()), known)
        grace = float(service["stop_grace_period"].removesuffix("s"))
        self.assertGreater(grace, default.daemon.drain_timeout)
