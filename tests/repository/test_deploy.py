"""The files of deploy/ as files: what schemas and linters say, and what they must agree on.

That what stands in them runs, `tests/kafka/repository/test_deployments.py` shows.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from engine import limits
from engine.cli import main
from engine.cli.ingest import ingest
from engine.config import SETTINGS, Settings
from engine.demo.traffic import write_lists
from engine.kafka.topics import Topics
from tests.repository import generated_manifests
from tests.repository.deploy_tools import import_tool, run_tool
from tests.repository.dockerfile import environment, instructions

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = DEPLOY / "docker" / "Dockerfile"
COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
KUBERNETES: Final = DEPLOY / "kubernetes"
UNIT: Final = DEPLOY / "systemd" / "hotlist-worker.service"
INGEST_UNIT: Final = DEPLOY / "systemd" / "hotlist-ingest@.service"
VERIFY_UNIT: Final = DEPLOY / "systemd" / "hotlist-audit-verify.service"
VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
#: Of ours, by variable; the secrets among them are in no file.
VARIABLES: Final = {setting.variable: setting for setting in SETTINGS.values()}
Manifest = dict[str, Any]


# --- The image ---------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    assert run_tool("hadolint", str(DOCKERFILE)) == ""


def test_both_stages_are_of_one_pinned_base() -> None:
    found = instructions(DOCKERFILE)
    (base,) = [one.text for one in found if one.word == "ARG" and one.stage == -1]
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-\w+", base)
    assert [one.text for one in found if one.word == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_only_what_the_lock_holds_is_installed() -> None:
    installs = [one.words for one in instructions(DOCKERFILE) if one.word == "RUN"]
    pip = [words for words in installs if "pip" in words[0]]
    assert len(pip) == 4
    for words in pip:
        assert {"--require-hashes", "--no-index"} & set(words), words
    for name in ("requirements.txt", "build.txt"):
        lines = (DOCKERFILE.parent / name).read_text("utf-8")
        packages = re.findall(r"^[a-z0-9.-]+==", lines, re.MULTILINE)
        assert packages
        blocks = re.split(r"^(?=[a-z0-9.-]+==)", lines, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in block for block in blocks)


def test_what_runs_is_no_root_and_needs_no_shell() -> None:
    found = [one for one in instructions(DOCKERFILE) if one.stage == 1]
    by_word = {one.word: one for one in found}
    assert not [one for one in found if one.word in ("RUN", "ADD", "SHELL", "VOLUME")]
    assert re.fullmatch(r"([1-9]\d{4}):\1", by_word["USER"].text)
    assert by_word["ENTRYPOINT"].words == ["hotlist"]
    assert by_word["CMD"].words == ["worker"]
    assert by_word["STOPSIGNAL"].text == "SIGTERM"
    _, _, check = by_word["HEALTHCHECK"].text.partition(" CMD ")
    assert json.loads(check)[0] == "python"
    assert f"EXPOSE {Settings().http_port}" == f"EXPOSE {by_word['EXPOSE'].text}"
    assert environment(found, 1)["NUMBA_CACHE_DIR"] == by_word["WORKDIR"].text


def test_the_image_says_its_version_once() -> None:
    assert f"VERSION={VERSION}" in [one.text for one in instructions(DOCKERFILE)]
    compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
    assert compose["services"]["worker"]["image"] == f"hotlist-engine:{VERSION}"
    for path in KUBERNETES.rglob("kustomization.yaml"):
        for image in yaml.safe_load(path.read_text("utf-8")).get("images", ()):
            assert image["newTag"] == VERSION, path


def test_what_is_copied_is_there_and_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = [
        source
        for one in instructions(DOCKERFILE)
        if one.word == "COPY" and one.stage == 0
        for source in one.text.split()[:-1]
    ]
    assert "*" in lines
    assert set(copied) == allowed
    assert all((ROOT / source).exists() for source in copied)


# --- Compose -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Manifest:
    found: Manifest = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return found


def _ours(compose: Manifest) -> dict[str, Manifest]:
    return {
        name: service
        for name, service in compose["services"].items()
        if service["image"].startswith("hotlist-engine:")
    }


def test_the_compose_file_is_one(compose: Manifest) -> None:
    parsed = import_tool("compose_spec").PyCompose.from_json(json.dumps(compose))
    assert set(parsed.service_names()) == set(compose["services"])


def test_our_services_may_do_nothing_that_they_need_not(compose: Manifest) -> None:
    ours = _ours(compose)
    assert set(ours) == {"topics", "policies", "entries", "worker", "ingest", "traffic"}
    # No one has a token for cameras by default.
    assert {name for name in ours if "profiles" in ours[name]} == {"ingest"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert service["ulimits"] == {"core": 0}, name
        assert service["mem_limit"] == service["memswap_limit"], name
        _known(service["environment"])
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"cpus", "mem_limit"} <= service.keys(), name
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        for port in service.get("ports", ()):
            host = port["host_ip"] if isinstance(port, dict) else port.split(":")[0]
            assert host == "127.0.0.1", name


def test_the_cache_is_where_the_image_has_it(compose: Manifest) -> None:
    found = instructions(DOCKERFILE)
    directory = environment(found, 1)["NUMBA_CACHE_DIR"]
    (user,) = [one.text.split(":")[0] for one in found if one.word == "USER"]
    for service in _ours(compose).values():
        (mount,) = service["tmpfs"]
        assert mount.startswith(f"{directory}:uid={user},gid={user},mode=0700")


def test_what_is_mounted_is_there(compose: Manifest) -> None:
    for name, service in compose["services"].items():
        for mount in service.get("volumes", ()):
            source, _, mode = mount.partition(":")
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), (name, mount)
                assert mode.endswith(":ro"), (name, mount)
            else:
                assert source in compose["volumes"], (name, mount)


def test_the_kafka_is_the_one_that_the_tests_run_on(compose: Manifest) -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text("utf-8")
    (version,) = re.findall(r"<kafka\.version>([^<]+)<", pom)
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version}"


def test_prometheus_differs_in_nothing_but_where_the_processes_are() -> None:
    here = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text("utf-8"))
    there = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert here["rule_files"] == [f"/etc/prometheus/{path}" for path in there.pop("rule_files")]
    del here["rule_files"]
    services = {"worker": Settings().http_port, "ingest": 9109}
    for at, (service, port) in enumerate(services.items()):
        (found,) = here["scrape_configs"][at].pop("dns_sd_configs")
        assert (found["names"], found["port"]) == ([service], port)
        del there["scrape_configs"][at]["file_sd_configs"]
    assert here == there


def test_the_city_is_the_one_whose_reads_are_sent(tmp_path: Path) -> None:
    written = write_lists(tmp_path)
    kept = {path.name: path.read_bytes() for path in (DEPLOY / "compose" / "city").iterdir()}
    assert {path.name: path.read_bytes() for path in written} == kept, (
        "run: hotlist traffic --lists deploy/compose/city"
    )


# --- Kubernetes --------------------------------------------------------------------------

_WORKER: Final = "hotlist-worker"
_INGEST: Final = "hotlist-ingest"
_VERIFY: Final = "hotlist-audit-verify"
OVERLAYS: Final = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
#: The oldest and the newest of the versions that the schemas are held to.
VERSIONS: Final = ("1.30", "1.37")
#: What a plain Kubernetes does not know: by hand against the CRDs, see deploy/README.md.
CUSTOM: Final = ("kafka.strimzi.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1")


def test_what_is_generated_is_current() -> None:
    for path, text in generated_manifests.files().items():
        assert path.read_text("utf-8") == text, (
            "run: python -m tests.repository.generated_manifests"
        )


def _built(overlay: str) -> list[Manifest]:
    text = run_tool("kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


@pytest.fixture(scope="module", params=OVERLAYS)
def built(request: pytest.FixtureRequest) -> list[Manifest]:
    """All manifests of each overlay in turn."""
    return _built(request.param)


def _one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
    ]
    return found


def test_the_manifests_fit_their_schemas(built: list[Manifest]) -> None:
    validate = import_tool("kubernetes_validate").validate
    plain = [each for each in built if each["apiVersion"] not in CUSTOM]
    assert len(plain) >= 6
    for manifest in plain:
        for version in VERSIONS:
            validate(manifest, version, strict=True)


def _deployments(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Ours by their names: the workers, and in production the cameras' endpoint."""
    found = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "Deployment"}
    assert _WORKER in found
    return found


def test_only_production_has_an_endpoint_for_cameras() -> None:
    assert {overlay: set(_deployments(_built(overlay))) for overlay in OVERLAYS} == {
        "production": {_WORKER, _INGEST},
        "trial": {_WORKER},
    }


def test_the_audit_is_verified_on_a_schedule() -> None:
    production = _built("production")
    job = _one(production, "CronJob")["spec"]["jobTemplate"]["spec"]
    template = job["template"]
    pod = template["spec"]
    _restricted(pod, _one(production, "ServiceAccount", _VERIFY))
    (container,) = pod["containers"]
    assert container["args"] == ["audit", "verify"]
    assert job["activeDeadlineSeconds"] < 86400 < job["ttlSecondsAfterFinished"]
    assert container["env"] == [{"name": "HOTLIST_SASL_USERNAME", "value": "hotlist-auditor"}]
    users = {each["metadata"]["name"] for each in production if each["kind"] == "KafkaUser"}
    secrets = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert secrets == {"hotlist-auditor", f"{generated_manifests.CLUSTER}-cluster-ca-cert"}
    assert "hotlist-auditor" in users
    policies = [_one(production, "NetworkPolicy", name)["spec"] for name in (_VERIFY, _WORKER)]
    assert policies[0]["egress"] == policies[1]["egress"]
    assert "ingress" not in policies[0]
    labels = template["metadata"]["labels"]
    assert policies[0]["podSelector"]["matchLabels"].items() <= labels.items()
    alerts = (DEPLOY / "prometheus" / "rules" / "audit.yml").read_text("utf-8")
    assert f'cronjob="{_VERIFY}"' in alerts
    assert f'job_name=~"{_VERIFY}-.+"' in alerts


def test_static_members_keep_their_names_and_their_time(tmp_path: Path) -> None:
    """The pod is the Deployment's own, but for the id in the group."""
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [os.path.relpath(KUBERNETES / "overlays" / "trial", tmp_path)],
                "components": [
                    os.path.relpath(KUBERNETES / "components" / "static-members", tmp_path)
                ],
            }
        )
    )
    text = run_tool("kubectl", "kustomize", str(tmp_path))
    manifests: list[Manifest] = [each for each in yaml.safe_load_all(text) if each]
    validate = import_tool("kubernetes_validate").validate
    for manifest in manifests:
        for version in VERSIONS:
            validate(manifest, version, strict=True)
    assert not [each for each in manifests if each["kind"] == "Deployment"]
    workers, service = _one(manifests, "StatefulSet"), _one(manifests, "Service")
    assert workers["spec"]["serviceName"] == service["metadata"]["name"]
    labels = workers["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    pod = workers["spec"]["template"]["spec"]
    env = {each["name"]: each for each in pod["containers"][0].pop("env")}
    assert env["HOTLIST_GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    session = VARIABLES["HOTLIST_SESSION_TIMEOUT"].checked(
        env["HOTLIST_SESSION_TIMEOUT"]["value"], "the component"
    )
    assert session > pod["terminationGracePeriodSeconds"] + limits.STATIC_SESSION_S
    _known({name: each.get("value", "hotlist-worker-0") for name, each in env.items()})
    assert pod == _one(_built("trial"), "Deployment")["spec"]["template"]["spec"]


def test_a_pod_is_restricted(built: list[Manifest]) -> None:
    """By the profile `restricted` of the pod security standards, and some more."""
    for name, deployment in _deployments(built).items():
        _restricted(deployment["spec"]["template"]["spec"], _one(built, "ServiceAccount", name))
    labels = _one(built, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def _restricted(pod: Manifest, account: Manifest) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {key for volume in pod["volumes"] for key in volume} <= {"name", "emptyDir", "secret"}
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False


def test_the_user_and_the_cache_are_the_images(built: list[Manifest]) -> None:
    found = instructions(DOCKERFILE)
    (user,) = [one.text for one in found if one.word == "USER"]
    for deployment in _deployments(built).values():
        pod = deployment["spec"]["template"]["spec"]
        context = pod["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
        mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert environment(found, 1)["NUMBA_CACHE_DIR"] in mounts


def test_no_secret_is_written_down(built: list[Manifest]) -> None:
    assert not [each for each in built if each["kind"] == "Secret"]
    _known(_one(built, "ConfigMap", "hotlist-settings")["data"])


def test_the_probes_are_served(built: list[Manifest]) -> None:
    settings = _one(built, "ConfigMap", "hotlist-settings")["data"]
    assert settings["HOTLIST_HTTP_HOST"] == "0.0.0.0"
    ports = {_WORKER: settings["HOTLIST_HTTP_PORT"], _INGEST: "9109"}
    for name, deployment in _deployments(built).items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (port,) = container["ports"]
        assert str(port["containerPort"]) == ports[name]
        _probed(container)
        policy = _one(built, "NetworkPolicy", name)["spec"]
        for each in policy["ingress"]:
            assert each["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


def _probed(container: Manifest) -> None:
    paths = {
        probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")
    }
    assert paths == {
        "startupProbe": "/readyz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_the_start_may_take_ten_times_what_it_took() -> None:
    kept = max((ROOT / "benchmarks" / "results" / "measures").glob("*-list_size.json"))
    took_s = [
        value
        for case in json.loads(kept.read_text())["cases"]
        if case["case"].startswith("1,000,000 ")
        for figure in case["figures"]
        if figure["name"] == "first start to ready"
        for value in figure["values"]
    ]
    base = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text("utf-8"))
    probe = base["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    allowed_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert took_s
    assert allowed_s >= 10 * max(took_s)
    assert base["spec"]["progressDeadlineSeconds"] > allowed_s


def test_what_selects_pods_finds_them(built: list[Manifest]) -> None:
    for name, deployment in _deployments(built).items():
        _selected(built, name, deployment)


def _selected(built: list[Manifest], name: str, deployment: Manifest) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == name
    monitors = [
        each for each in built if each["kind"] == "PodMonitor" and each["metadata"]["name"] == name
    ]
    assert bool(monitors) == any(each["kind"] == "PrometheusRule" for each in built)
    selectors = [
        _one(built, "PodDisruptionBudget", name)["spec"]["selector"],
        _one(built, "NetworkPolicy", name)["spec"]["podSelector"],
        deployment["spec"]["selector"],
        *(
            spread["labelSelector"]
            for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        ),
        *(each["spec"]["selector"] for each in monitors),
    ]
    assert len(selectors) >= 5
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()
    for monitor in monitors:
        # The rules are for jobs whose names begin so.
        assert labels[monitor["spec"]["jobLabel"]].startswith(name)
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        names = [
            port["name"]
            for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
        ]
        assert endpoint["port"] in names


def test_as_many_workers_as_partitions() -> None:
    production = _built("production")
    scaled = _one(production, "ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]
    settings = _one(production, "ConfigMap", "hotlist-settings")["data"]
    topics = Topics(settings["HOTLIST_PREFIX"])
    reads = _one(production, "KafkaTopic", topics.detections)
    assert scaled["maxReplicaCount"] == reads["spec"]["partitions"]
    assert trigger["metadata"]["topic"] == topics.detections
    assert trigger["metadata"]["consumerGroup"] == settings["HOTLIST_GROUP"]
    assert trigger["metadata"]["bootstrapServers"] == settings["HOTLIST_BOOTSTRAP"]
    deployment = _one(production, "Deployment", _WORKER)
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]


def test_whoever_logs_in_is_a_user_of_the_cluster() -> None:
    production = _built("production")
    users = {each["metadata"]["name"] for each in production if each["kind"] == "KafkaUser"}
    settings = _one(production, "ConfigMap", "hotlist-settings")["data"]
    assert settings["HOTLIST_SASL_USERNAME"] in users
    assert _one(production, "ConfigMap", "hotlist-autoscaler")["data"]["username"] in users
    assert _login(production, _WORKER) == {
        settings["HOTLIST_SASL_PASSWORD_FILE"]: settings["HOTLIST_SASL_USERNAME"],
        settings["HOTLIST_SSL_CAFILE"]: f"{generated_manifests.CLUSTER}-cluster-ca-cert",
    }
    (container,) = _one(production, "Deployment", _INGEST)["spec"]["template"]["spec"]["containers"]
    (name,) = container["env"]
    assert name == {"name": "HOTLIST_SASL_USERNAME", "value": "hotlist-ingest"}
    assert name["value"] in users
    assert _login(production, _INGEST) == {
        settings["HOTLIST_SASL_PASSWORD_FILE"]: name["value"],
        settings["HOTLIST_SSL_CAFILE"]: f"{generated_manifests.CLUSTER}-cluster-ca-cert",
        "/run/secrets/hotlist/token/token": "hotlist-ingest-token",
        "/run/secrets/hotlist/tls/tls.crt": "hotlist-ingest-tls",
        "/run/secrets/hotlist/tls/tls.key": "hotlist-ingest-tls",
    }


def _login(manifests: list[Manifest], name: str) -> dict[str, str]:
    """By the path at which a pod has it, the name of each file's secret."""
    pod = _one(manifests, "Deployment", name)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    return {
        f"{mount['mountPath']}/{item['path']}": secrets[mount["name"]]["secretName"]
        for mount in container["volumeMounts"]
        if mount["name"] in secrets
        for item in secrets[mount["name"]]["items"]
    }


def test_the_pod_for_cameras_has_a_command_that_is_one() -> None:
    production = _built("production")
    pod = _one(production, "Deployment", _INGEST)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command, *words = container["args"]
    assert command == "ingest"
    files = set(_login(production, _INGEST))
    named = [word.partition("=")[2] for word in words if "/run/secrets/" in word]
    assert len(named) == 3
    assert set(named) <= files
    _parsed([re.sub(r"=/run/secrets/.*", f"={UNIT}", word) for word in words])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"


def test_the_service_for_cameras_leads_to_its_pods() -> None:
    production = _built("production")
    service = _one(production, "Service", _INGEST)["spec"]
    template = _one(production, "Deployment", _INGEST)["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = service["ports"]
    (served,) = template["spec"]["containers"][0]["ports"]
    assert port["targetPort"] == served["name"]
    # Each process knows only its own nonces of Digest, and the cars that it was told of.
    assert service["sessionAffinity"] == "ClientIP"
    # The policy and the bounds of the port go by the cameras' own addresses.
    assert service["externalTrafficPolicy"] == "Local"


def test_both_pods_reach_the_same_brokers(built: list[Manifest]) -> None:
    egress = [_one(built, "NetworkPolicy", name)["spec"]["egress"] for name in _deployments(built)]
    assert all(each == egress[0] for each in egress)


# --- systemd -----------------------------------------------------------------------------

_SYSTEMD: Final = "Debian has it in the package systemd"


def _unit(path: Path) -> configparser.RawConfigParser:
    """A unit's lines; of those that come again, the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment]  # systemd tells cases apart
    parser.read(path)
    return parser


@pytest.mark.parametrize("kept", [UNIT, INGEST_UNIT, VERIFY_UNIT], ids=lambda path: path.stem)
def test_systemd_takes_the_unit_and_finds_little_exposed(kept: Path, tmp_path: Path) -> None:
    installed = "/opt/hotlist/bin/hotlist"
    text = kept.read_text("utf-8")
    assert text.count(installed) == 1
    unit = tmp_path / kept.name.replace("@", "@cameras")
    unit.write_text(text.replace(installed, sys.executable))
    if kept == UNIT:
        shutil.copytree(UNIT.with_suffix(".service.d"), tmp_path / f"{UNIT.name}.d")
    assert run_tool("systemd-analyze", "verify", "--man=no", str(unit), hint=_SYSTEMD) == ""
    # From 0, nothing exposed, to 100; 20 and less is what systemd calls OK.
    run_tool(
        "systemd-analyze", "security", "--offline=yes", "--threshold=15", str(unit), hint=_SYSTEMD
    )


def test_the_timer_starts_a_command_that_is_one_and_writes_where_it_may(tmp_path: Path) -> None:
    timer = VERIFY_UNIT.with_suffix(".timer")
    for path in (timer, VERIFY_UNIT):
        text = path.read_text("utf-8").replace("/opt/hotlist/bin/hotlist", sys.executable)
        (tmp_path / path.name).write_text(text)
    said = run_tool("systemd-analyze", "verify", "--man=no", str(tmp_path / timer.name))
    assert said == ""
    service = _unit(VERIFY_UNIT)["Service"]
    _, group, command, *words = shlex.split(service["ExecStart"])
    verify = main.commands[group].commands[command]  # type: ignore[attr-defined]
    found = verify.make_context(command, words).params
    assert found["metrics_file"].parent == Path("/var/lib") / service["StateDirectory"]
    assert service["UMask"] == "0022"
    env = (VERIFY_UNIT.parent / "audit.env").read_text("utf-8")
    _known(dict(line.split("=", 1) for line in env.splitlines() if line and line[0] != "#"))


def test_the_unit_names_settings_that_are_there() -> None:
    lines = (DEPLOY / "systemd" / "worker.env").read_text("utf-8").splitlines()
    named = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    _known(named)
    drop_in = (UNIT.with_suffix(".service.d") / "credentials.conf").read_text("utf-8")
    _known(dict(re.findall(r"^Environment=(\w+)=(.*)$", drop_in, re.MULTILINE)))
    credentials = set(re.findall(r"^LoadCredential=([^:]+):", drop_in, re.MULTILINE))
    assert credentials == set(re.findall(r"=%d/(\S+)$", drop_in, re.MULTILINE))


def test_the_ingest_unit_has_a_command_that_is_one() -> None:
    lines = (DEPLOY / "systemd" / "ingest.env").read_text("utf-8").splitlines()
    named = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    options = named.pop("INGEST_OPTIONS")
    _known(named)
    service = _unit(INGEST_UNIT)["Service"]
    assert service["EnvironmentFile"] == "/etc/hotlist/ingest-%i.env"
    name, _, where = service["LoadCredential"].partition(":")
    assert where == "/etc/hotlist/ingest-%i.token"
    _, command, *words = service["ExecStart"].split()
    assert command == "ingest"
    assert words == ["--token-file", f"%d/{name}", "$INGEST_OPTIONS"]
    _parsed([*shlex.split(options), "--token-file", str(UNIT)])


def test_the_ingest_service_has_a_command_that_is_one(compose: Manifest) -> None:
    command, *words = compose["services"]["ingest"]["command"]
    assert command == "ingest"
    token = "--token-file=/run/secrets/ingest-token"
    assert token in words
    _parsed([f"--token-file={UNIT}" if word == token else word for word in words])
    assert compose["services"]["ingest"]["secrets"] == ["ingest-token"]
    assert compose["secrets"] == {"ingest-token": {"environment": "HOTLIST_INGEST_TOKEN"}}


def _parsed(words: list[str]) -> None:
    """`hotlist ingest` takes these words; it fails the test otherwise."""
    with ingest.make_context("ingest", words, resilient_parsing=False) as context:
        assert context.params["listen"][1] == 9109


def test_the_system_waits_longer_than_ingest_takes_to_end(compose: Manifest) -> None:
    waits = {
        "systemd": _seconds(_unit(INGEST_UNIT)["Service"]["TimeoutStopSec"]),
        "compose": _seconds(compose["services"]["ingest"]["stop_grace_period"]),
    }
    file = KUBERNETES / "components" / "ingest" / "deployment.yaml"
    pod = yaml.safe_load(file.read_text("utf-8"))["spec"]["template"]["spec"]
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    waits["kubernetes"] = pod["terminationGracePeriodSeconds"] - pause_s
    for where, wait_s in waits.items():
        assert wait_s > limits.INGEST_DELIVERY_S + limits.INGEST_DRAIN_S, where


def test_the_system_waits_longer_than_a_worker_takes_to_end() -> None:
    waits = {
        "systemd": _seconds(_unit(UNIT)["Service"]["TimeoutStopSec"]),
        "compose": _seconds(
            yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["worker"]["stop_grace_period"]
        ),
        "kubernetes": yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text("utf-8"))[
            "spec"
        ]["template"]["spec"]["terminationGracePeriodSeconds"],
    }
    for where, wait_s in waits.items():
        assert wait_s > limits.END_S, where


def _seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def _known(named: dict[str, str]) -> None:
    """All of these are variables of settings, with values that these take; no secret is one."""
    assert named
    for variable, value in named.items():
        assert variable in VARIABLES, variable
        if not value.startswith("%d/"):
            VARIABLES[variable].checked(str(value), variable)
