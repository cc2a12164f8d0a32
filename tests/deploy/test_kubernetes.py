"""The manifests in deploy/kubernetes are what the API server accepts and Atelier needs."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml
from pydantic import ValidationError

from atelier.roles import api, grpc
from atelier.settings import PREFIX, Settings
from atelier.settings.needs import NEEDS
from atelier.up.table import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atelier.settings.model import RoleName

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")  # the oldest that is supported and the newest whose schemas are known
KUSTOMIZE = {"Kustomization", "Component"}
NAMES = {role.name for role in ROLES}
OVERLAYS = FOLDER / "overlays"
WITHOUT_PODS = "nobody"  # the service without a pod
NAME = "app.kubernetes.io/name"
# An instance with its blobs in a shared volume: what docs/howto/kubernetes.md shows.
ON_A_VOLUME = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: atelier
resources: [{base}]
components: [{components}/backup, {components}/volume]
secretGenerator:
  - name: atelier-secrets
    literals: [ATELIER_SECRET=x]
  - name: atelier-database
    literals: [ATELIER_DATABASE_URL=x]
  - name: atelier-engines
    literals: [ATELIER_REDIS_URL=x]
"""

Manifest = dict[str, Any]

# It would read a megabyte of schemas again for each object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def parse(text: str) -> list[Manifest]:
    """The documents of a YAML stream."""
    return list(yaml.load_all(text, yaml.CSafeLoader))


@cache
def documents(path: Path) -> list[Manifest]:
    """The objects of one file."""
    return list(filter(None, parse(path.read_text(encoding="utf-8"))))


def objects() -> list[Manifest]:
    """Every whole object of the base and of the components."""
    paths = [
        path
        for folder in ("base", "components")
        for path in sorted((FOLDER / folder).rglob("*.yaml"))
    ]
    return [found for path in paths for found in documents(path) if found["kind"] not in KUSTOMIZE]


def label(found: Manifest) -> str:
    """How a test is called."""
    return f"{found['kind']}-{found['metadata']['name']}"


def of(kind: str) -> dict[str, Manifest]:
    """The base's objects of one kind, by name."""
    return {found["metadata"]["name"]: found for found in objects() if found["kind"] == kind}


def template(found: Manifest) -> Manifest:
    """The pod of a Deployment, Job or CronJob."""
    spec = found["spec"].get("jobTemplate", found)["spec"]
    pod: Manifest = spec["template"]
    return pod


def workloads() -> list[Manifest]:
    """Whatever makes pods."""
    return [found for found in objects() if found["kind"] in {"Deployment", "Job", "CronJob"}]


def container(found: Manifest) -> Manifest:
    """The one container of a workload."""
    (only,) = template(found)["spec"]["containers"]
    return dict(only)


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """True if a selector by labels means this pod."""
    return all(labels.get(key) == value for key, value in selector.items())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("found", objects(), ids=label)
def test_every_object_fits_its_schema(found: Manifest, version: str) -> None:
    """No field is misspelled, missing or of another type, by the API server's own schema."""
    kubernetes_validate.validate(found, version, strict=True)


def test_a_misspelled_field_is_found() -> None:
    """The validation can fail."""
    found = copy.deepcopy(of("Deployment")["api"])
    found["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    "path", sorted(FOLDER.rglob("kustomization.yaml")), ids=lambda path: path.parent.name
)
def test_every_file_is_used_and_there(path: Path) -> None:
    """Each file that a kustomization names exists, and each file beside it is named."""
    (found,) = documents(path)
    generators = [*found.get("configMapGenerator", []), *found.get("secretGenerator", [])]
    named = {*found.get("resources", []), *found.get("components", [])}
    named |= {patch["path"] for patch in found.get("patches", []) if "path" in patch}
    named |= {name for generator in generators for name in generator.get("envs", [])}
    assert [name for name in named if not (path.parent / name).exists()] == []
    assert {each.name for each in path.parent.iterdir()} - {path.name} <= named


def test_patches_meet_something() -> None:
    """Every object of an overlay's patches is one of the base."""
    known = {(found["kind"], found["metadata"]["name"]) for found in objects()}
    patches = [path for path in OVERLAYS.rglob("*.yaml") if path.name != "kustomization.yaml"]
    found = {
        (each["kind"], each["metadata"]["name"]) for path in patches for each in documents(path)
    }
    assert found
    assert found <= known


@pytest.mark.parametrize("found", workloads(), ids=label)
def test_pods_keep_to_the_restricted_standard(found: Manifest) -> None:
    """Not root, nothing writable but what is mounted, no capability, no token, bounded memory.

    Settings stay ours.
    """
    pod, only = template(found)["spec"], container(found)
    assert pod["automountServiceAccountToken"] is False
    assert (
        pod["enableServiceLinks"] is False
    )  # the service `api` would set ATELIER_..., and unknown settings are errors
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} <= only["resources"]["limits"].keys()
    assert {"memory", "cpu"} <= only["resources"]["requests"].keys()
    assert {mount["mountPath"] for mount in only["volumeMounts"]} >= {"/data", "/tmp"}  # noqa: S108 - a mount


@pytest.mark.parametrize("found", workloads(), ids=label)
def test_images_are_those_that_are_built(found: Manifest) -> None:
    """Each image is that of a role, or the one for what runs once and ends."""
    image = container(found)["image"]
    role = image.removeprefix("atelier-")
    assert (ROOT / "docker" / "requirements" / f"{role}.txt").exists()
    assert (
        role == "migrate" if found["kind"] != "Deployment" else role == found["metadata"]["name"]
    )


def test_there_is_a_deployment_for_each_role() -> None:
    """No role is forgotten; each may lose one pod at a time."""
    assert of("Deployment").keys() == NAMES
    budgets = of("PodDisruptionBudget")
    assert budgets.keys() == NAMES
    for name, found in of("Deployment").items():
        labels = template(found)["metadata"]["labels"]
        assert matches(found["spec"]["selector"]["matchLabels"], labels)
        assert matches(budgets[name]["spec"]["selector"]["matchLabels"], labels)


@pytest.mark.parametrize("found", of("Deployment").values(), ids=label)
def test_probes_ask_what_they_mean(found: Manifest) -> None:
    """Liveness is /healthz, which no engine fails; readiness is /readyz; their ports are open."""
    only = container(found)
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert ports == {
        "api": {"http": 8000, "metrics": 9100},
        "grpc": {"grpc": 50051, "metrics": 9100},
    }.get(found["metadata"]["name"], {"metrics": 9100})
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert only[probe]["httpGet"]["path"] == path
        assert only[probe]["httpGet"]["port"] in ports
    annotations = template(found)["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == ports.get("metrics", ports.get("http"))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_pod_has_time_to_drain(role: Any) -> None:
    """Kubernetes kills no sooner than `atelier up`, and servers first wait for the balancers."""
    found = of("Deployment")[role.name]
    grace = template(found)["spec"]["terminationGracePeriodSeconds"]
    before = (
        container(found)
        .get("lifecycle", {})
        .get("preStop", {})
        .get("exec", {})
        .get("command", ["sleep", "0"])
    )
    assert grace >= int(before[1]) + role.drain_seconds
    assert (int(before[1]) > 0) == (role.name in {"api", "grpc"})
    assert role.drain_seconds > max(api.DRAIN_SECONDS, grpc.DRAIN_SECONDS)


def test_who_scales_has_no_number_of_its_own() -> None:
    """An autoscaler and `replicas` would fight with every apply.

    The relay has two, one of them active.
    """
    scaled = of("HorizontalPodAutoscaler")
    assert scaled.keys() == NAMES - {"relay"}
    for name, found in of("Deployment").items():
        assert ("replicas" in found["spec"]) == (name not in scaled)
        assert (
            "cpu" in container(found)["resources"]["requests"]
        )  # a share of which the autoscaler reckons
    assert all(found["spec"]["scaleTargetRef"]["name"] == name for name, found in scaled.items())
    assert all(found["spec"]["minReplicas"] >= 2 for found in scaled.values())


def test_services_lead_to_pods() -> None:
    """Each service selects a role and names one of its ports; each ingress a service."""
    pods = [template(found) for found in of("Deployment").values()]
    services = of("Service")
    for found in (found for name, found in services.items() if name != WITHOUT_PODS):
        (pod,) = [
            pod for pod in pods if matches(found["spec"]["selector"], pod["metadata"]["labels"])
        ]
        names = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in found["spec"]["ports"]} <= names
    for found in of("Ingress").values():
        for path in found["spec"]["rules"][0]["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in {
                port["name"] for port in services[backend["name"]]["spec"]["ports"]
            }


@pytest.mark.parametrize(
    "folder", [FOLDER / "base", OVERLAYS / "example"], ids=lambda folder: str(folder.name)
)
def test_metrics_are_not_public(folder: Path) -> None:
    """The ingress leads /metrics, with a slash or without, to a service that has no pod."""
    ingress = next(
        found for found in documents(folder / "ingress.yaml") if found["metadata"]["name"] == "api"
    )
    paths = {path["path"]: path for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths["/metrics"]["pathType"] == "Prefix"
    assert paths["/metrics"]["backend"]["service"]["name"] == WITHOUT_PODS
    assert paths["/"]["backend"]["service"]["name"] == "api"
    assert "selector" not in of("Service")[WITHOUT_PODS]["spec"]


def test_the_processor_cannot_reach_the_database() -> None:
    """It has neither the database's secret nor a way there."""
    sources = container(of("Deployment")["processor"])["envFrom"]
    assert [source["secretRef"]["name"] for source in sources if "secretRef" in source] == [
        "atelier-engines"
    ]
    (expression,) = of("NetworkPolicy")["database"]["spec"]["podSelector"]["matchExpressions"]
    assert expression == {"key": NAME, "operator": "NotIn", "values": ["processor"]}
    others = [
        port["port"]
        for rule in of("NetworkPolicy")["engines"]["spec"]["egress"]
        for port in rule["ports"]
    ]
    assert 5432 not in others


SECRETS = {
    "atelier-engines": {"redis_url", "amqp_url", "s3_access_key", "s3_secret_key"},
    "atelier-database": {"database_url"},
    "atelier-secrets": {"secret"},
    "atelier-owner": {"migration_url"},
}


@pytest.mark.parametrize("role", sorted(NEEDS))
def test_each_role_gets_the_secrets_that_it_needs(role: RoleName) -> None:
    """None has the database's address, the owner's or the signing secret without need.

    The engines' addresses come in one secret.
    """
    found = (of("Deployment") | of("Job"))[role]
    sources = container(found)["envFrom"]
    names = {source["secretRef"]["name"] for source in sources if "secretRef" in source}
    needed = {name for name, settings in SECRETS.items() if settings & {*NEEDS[role]}}
    assert names == needed | {"atelier-engines"}


def variables() -> Iterator[tuple[str, str]]:
    """Every variable that a role is given."""
    for path in FOLDER.rglob("*.env"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if not line.startswith("#"):
                yield name, value
    for path in FOLDER.rglob("kustomization.yaml"):
        for generator in documents(path)[0].get("configMapGenerator", []):
            for literal in generator.get("literals", []):
                name, _, value = literal.partition("=")
                yield name, value


def test_every_variable_is_a_setting() -> None:
    """A role refuses to start with a variable that it does not know: none is given one."""
    given = dict(variables())
    assert {name.removeprefix(PREFIX).lower() for name in given} <= Settings.model_fields.keys()
    assert all(name.startswith(PREFIX) for name in given)


def test_the_documented_probe_asks_a_port_that_answers() -> None:
    """All pods are given `metrics_port`, which a probe prefers."""
    text = (ROOT / "docs" / "howto" / "kubernetes.md").read_text(encoding="utf-8")
    (role, port), *more = re.findall(r"exec deploy/(\w+) -- atelier probe(?: --port (\d+))?", text)
    assert not more
    ports = {each["containerPort"] for each in container(of("Deployment")[role])["ports"]}
    assert int(port or dict(variables())[f"{PREFIX}METRICS_PORT"]) in ports


def test_clients_are_told_apart() -> None:
    """The ingress controller is a trusted proxy, so clients do not share one limit of sign-ins."""
    believed = Settings(
        trusted_proxies=dict(variables())[f"{PREFIX}TRUSTED_PROXIES"]
    ).trusted_proxies
    assert any(ip_address("10.244.1.7") in ip_network(network) for network in believed)
    assert not any(ip_address("203.0.113.9") in ip_network(network) for network in believed)


def test_the_example_has_no_secret() -> None:
    """The secret that the example shows is refused."""
    secret = dict(variables())["ATELIER_SECRET"]
    with pytest.raises(ValidationError):
        Settings(secret=secret)


@pytest.mark.parametrize("name", ["example", "volume"])
def test_overlays_build(name: str, tmp_path: Path) -> None:
    """The overlay, and an instance on a volume, build and fit the schemas.

    Every name that they refer to is there.
    """
    folder = OVERLAYS / name
    if name == "volume":
        folder = tmp_path / "overlay"
        shutil.copytree(FOLDER, tmp_path / "kubernetes")
        folder.mkdir()
        text = ON_A_VOLUME.format(base="../kubernetes/base", components="../kubernetes/components")
        (folder / "kustomization.yaml").write_text(text)
    built = parse(build(folder))
    for found in built:
        kubernetes_validate.validate(found, VERSIONS[-1], strict=True)
    known = {(found["kind"], found["metadata"]["name"]) for found in built}
    for found in built:
        if found["kind"] in {"Deployment", "Job", "CronJob"}:
            for source in container(found)["envFrom"]:
                wanted = (
                    ("ConfigMap", "configMapRef")
                    if "configMapRef" in source
                    else ("Secret", "secretRef")
                )
                optional = source[wanted[1]].get("optional", False)
                assert optional or (wanted[0], source[wanted[1]]["name"]) in known
            mounts = {mount["mountPath"] for mount in container(found)["volumeMounts"]}
            assert ("/blobs" in mounts) == (
                name == "volume" and found["metadata"]["name"] not in {"grpc", "migrate"}
            )
            assert container(found)["image"].startswith("registry.") == (name == "example")


def build(folder: Path) -> str:
    """The manifests that would be applied.

    Needs kubectl or kustomize, which are in no Python package; skips without.
    """
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if not kubectl and not kustomize:
        pytest.skip(
            "neither kubectl nor kustomize: overlays were not built (their files were validated "
            "one by one)"
        )
    words = (
        [kubectl, "kustomize", str(folder)] if kubectl else [str(kustomize), "build", str(folder)]
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
