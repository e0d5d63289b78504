"""The side-car of deploy/kubernetes, as kustomize renders it."""

import shutil

import pytest
import yaml

from dockerfile import stages
from harness.admin import Admin
from harness.pgveil import BINARY, Pgveil
from harness.processes import run, run_or_fail
from project import ROOT, version

FOLDER = ROOT / "deploy/kubernetes"


@pytest.fixture(scope="module")
def objects():
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is missing: install the package kubernetes-client"
    rendered = run_or_fail(kubectl, "kustomize", FOLDER)
    return {each["kind"]: each for each in yaml.safe_load_all(rendered)}


@pytest.fixture(scope="module")
def pod(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def sidecar(pod):
    (container,) = pod["initContainers"]
    return container


@pytest.fixture(scope="module")
def application(pod):
    (container,) = pod["containers"]
    return container


def volume_of(pod, container, mount_path: str) -> dict:
    (name,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == mount_path]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == name]
    return volume


def test_it_runs_for_as_long_as_the_application(sidecar):
    assert sidecar["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    "setting, value",
    [
        ("runAsNonRoot", True),
        ("readOnlyRootFilesystem", True),
        ("allowPrivilegeEscalation", False),
        ("capabilities", {"drop": ["ALL"]}),
        ("seccompProfile", {"type": "RuntimeDefault"}),
    ],
)
def test_it_may_do_nothing_but_serve(sidecar, setting, value):
    assert sidecar["securityContext"][setting] == value


def test_it_is_the_user_of_the_image(sidecar):
    context = sidecar["securityContext"]
    (user,) = [each.text for each in stages()[-1] if each.name == "USER"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_it_is_the_version_of_this_checkout(sidecar):
    assert sidecar["image"].endswith(f":{version()}")


def test_its_arguments_name_the_file_that_is_mounted(objects, pod, sidecar):
    flag, file = sidecar["args"]
    directory, name = file.rsplit("/", 1)
    assert flag == "--config"
    assert name in objects["ConfigMap"]["data"]
    assert volume_of(pod, sidecar, directory)["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]


def test_a_changed_configuration_rolls_the_pods(objects):
    assert objects["ConfigMap"]["metadata"]["name"].startswith("pgveil-")


def test_its_configuration_is_accepted(objects, assert_accepted):
    assert_accepted(objects["ConfigMap"]["data"]["pgveil.toml"])


def test_its_authority_is_the_file_that_is_mounted(objects, pod, sidecar):
    assert '"/etc/pgveil-ca/root.crt"' in objects["ConfigMap"]["data"]["pgveil.toml"]
    assert volume_of(pod, sidecar, "/etc/pgveil-ca")["configMap"]["name"] == "pgveil-root-ca"


def test_the_application_connects_to_the_listener(objects, application):
    variables = {each["name"]: each["value"] for each in application["env"]}
    assert (variables["PGHOST"], variables["PGSSLMODE"]) == ("localhost", "disable")
    assert f'address = "127.0.0.1:{variables["PGPORT"]}"' in objects["ConfigMap"]["data"]["pgveil.toml"]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_its_probes_succeed_exactly_while_it_serves(objects, sidecar, probe):
    command = sidecar[probe]["exec"]["command"]
    assert command[0] == "pgveil"
    address = command[command.index("--admin") + 1]
    assert f'[admin]\naddress = "{address}"' in objects["ConfigMap"]["data"]["pgveil.toml"]
    proxy = Pgveil("--listen", "127.0.0.1:0", "--upstream", "/run", "--admin-address", "127.0.0.1:0")
    admin = Admin(proxy)

    def succeeds() -> bool:
        words = [admin.text if word == address else word for word in command[1:]]
        return run(BINARY, *words).returncode == 0

    try:
        assert succeeds()
    finally:
        proxy.stop()
    assert not succeeds()


def test_everything_has_its_share_of_the_machine(sidecar, application):
    for container in (sidecar, application):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
