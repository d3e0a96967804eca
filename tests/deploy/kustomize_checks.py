# SPDX-License-Identifier: Apache-2.0
"""The manifests render, are valid, fit together, and run under restricted pod security."""

import functools
import pathlib
import re
import subprocess
import tempfile

import kubernetes_validate
import yaml

from support import DEPLOY, built, output_of, program

# The oldest release whose gRPC probes are stable, and the newest that the schemas know.
RELEASES = ("1.27", "1.30", kubernetes_validate.latest_version())


REPLACED = """configMapGenerator:
- name: hubcached-policy
  behavior: replace
  literals: ["policy.yaml=version: 1"]
  options: {disableNameSuffixHash: true}
"""
OVERLAYS = {
    "with TLS": "resources: [../base]\ncomponents: [../tls]\n",
    "with both": "resources: [../policy]\ncomponents: [../tls]\n",
    "with a policy of its own": f"resources: [../policy]\n{REPLACED}",
}
SERVERS = ("base", "policy", *OVERLAYS)


@functools.cache
def _rendered(name):
    """Of a folder, or of an overlay."""
    folder = DEPLOY / "kustomize" / name
    with tempfile.TemporaryDirectory(dir=DEPLOY / "kustomize") as overlay:
        if name in OVERLAYS:
            folder = overlay
            pathlib.Path(overlay, "kustomization.yaml").write_text(OVERLAYS[name])
        text = output_of(program("kubectl"), "kustomize", folder)
    return list(yaml.safe_load_all(text))


def _one(name, kind):
    (found,) = [item for item in _rendered(name) if item["kind"] == kind]
    return found


def _pod(name):
    return _one(name, "Deployment")["spec"]["template"]["spec"]


def _containers(name):
    return _pod(name).get("initContainers", []) + _pod(name)["containers"]


def _environment(container):
    return {item["name"]: item["value"] for item in container.get("env", [])}


def _mount(container, name):
    (found,) = [item for item in container["volumeMounts"] if item["name"] == name]
    return found


def _claim(name):
    (found,) = [volume for volume in _pod(name)["volumes"]
                if "persistentVolumeClaim" in volume]
    return found


def _validate(name):
    for item in _rendered(name):
        for release in RELEASES:
            kubernetes_validate.validate(item, release, strict=True)


def _config_of_base():
    return _one("base", "ConfigMap")["data"]["hubcached.yaml"]


def _policy(name="policy"):
    (found,) = [item for item in _rendered(name)
                if item["kind"] == "ConfigMap" and "policy.yaml" in item["data"]]
    return found


def _arguments_of_policy():
    """{flag: value} that the base does not have."""
    (container,), (base,) = _pod("policy")["containers"], _pod("base")["containers"]
    added = [item for item in container["args"] if item not in base["args"]]
    return dict(item.split("=", 1) for item in added)


def _port_of_base(name="grpc"):
    (port,) = [port for port in _pod("base")["containers"][0]["ports"] if port["name"] == name]
    return port


def every_server_is_valid_for_every_release_with_grpc_probes():
    for name in SERVERS:
        _validate(name)


def the_consumer_is_valid_for_every_release_with_grpc_probes():
    _validate("consumer")


def the_schemas_refuse_a_misspelt_field():
    broken = yaml.safe_load(yaml.safe_dump(_one("base", "Service")))
    broken["spec"]["prots"] = broken["spec"].pop("ports")
    try:
        kubernetes_validate.validate(broken, RELEASES[-1], strict=True)
    except kubernetes_validate.ValidationError:
        return
    raise AssertionError("a Service with 'prots' was accepted")


def no_manifest_names_a_namespace():
    for name in ("consumer", *SERVERS):
        assert not [item for item in _rendered(name) if "namespace" in item["metadata"]]


def every_pod_is_restricted():
    for name in ("consumer", *SERVERS):
        context = _pod(name)["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert _pod(name)["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & _pod(name).keys()
        kinds = {kind for volume in _pod(name)["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}, kinds


def every_container_is_restricted():
    names = ("consumer", *SERVERS)
    for container in [item for name in names for item in _containers(name)]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, container["name"]
        assert context["readOnlyRootFilesystem"] is True, container["name"]
        assert context["capabilities"] == {"drop": ["ALL"]}, container["name"]
        assert not {"privileged", "runAsUser", "procMount"} & context.keys()
        assert not [port for port in container.get("ports", []) if "hostPort" in port]


def every_container_states_what_it_needs():
    for container in _containers("base") + _containers("consumer"):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), container["name"]
        assert "memory" in resources["limits"], container["name"]


def the_memory_suffices_for_what_may_wait_to_be_hashed():
    (container,) = _pod("base")["containers"]
    connections = yaml.safe_load(_config_of_base()).get("connections", 16)
    limit = container["resources"]["limits"]["memory"]
    mebibytes = int(limit[:-2]) * {"Mi": 1, "Gi": 1024}[limit[-2:]]
    assert mebibytes >= (connections + 1) * 32 + 128, limit  # and the program


def the_metrics_are_served_on_the_port_that_is_named_so():
    address = yaml.safe_load(_config_of_base())["http-listen"]
    assert int(address.rpartition(":")[2]) == _port_of_base("metrics")["containerPort"]


def the_probes_ask_grpc_health_on_the_port_that_is_listened_on():
    (container,) = _pod("base")["containers"]
    listen = yaml.safe_load(_config_of_base())["listen"]
    assert [int(address.rpartition(":")[2]) for address in listen] == [
        _port_of_base()["containerPort"]]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == _port_of_base()["containerPort"]


def a_volume_that_fails_takes_the_pod_out_of_service_and_does_not_restart_it():
    (container,) = _pod("base")["containers"]
    assert "service" not in container["readinessProbe"]["grpc"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["grpc"]["service"] == "liveness"


def with_tls_the_server_shows_the_certificate_that_is_mounted():
    (container,) = _pod("with TLS")["containers"]
    (volume,) = [item for item in _pod("with TLS")["volumes"] if item["name"] == "tls"]
    mount = _mount(container, "tls")
    assert container["args"] == _pod("base")["containers"][0]["args"] + [
        f"--tls-cert={mount['mountPath']}/tls.crt", f"--tls-key={mount['mountPath']}/tls.key"]
    assert volume["secret"] == {"secretName": "hubcache-tls", "defaultMode": 0o440}
    assert mount["readOnly"] and "subPath" not in mount  # such a mount does not change


def with_tls_the_probes_ask_the_same_over_http():
    (container,) = _pod("with TLS")["containers"]
    for name, probe in _pod("base")["containers"][0].items():
        if not name.endswith("Probe"):
            continue
        path = "/healthz" if probe["grpc"].get("service") == "liveness" else "/readyz"
        assert container[name] == {key: value for key, value in probe.items()
                                   if key != "grpc"} | {
            "httpGet": {"path": path, "port": _port_of_base("metrics")["name"]}}


def with_tls_the_service_does_not_say_clear_text():
    (port,) = _one("with TLS", "Service")["spec"]["ports"]
    assert port["appProtocol"] == "https"


def the_policy_is_read_from_a_mount_that_changes_with_its_configmap():
    (container,) = _pod("policy")["containers"]
    (volume,) = [item for item in _pod("policy")["volumes"] if item["name"] == "policy"]
    mount = _mount(container, "policy")
    assert _arguments_of_policy()["--policy"] == mount["mountPath"] + "/policy.yaml"
    assert mount["readOnly"] and "subPath" not in mount
    assert volume["configMap"]["name"] == _policy()["metadata"]["name"] == "hubcached-policy"


def an_overlay_replaces_the_policy_and_restarts_nothing():
    own = _policy("with a policy of its own")
    assert own["data"] == {"policy.yaml": "version: 1"}
    assert own["metadata"]["name"] == _policy()["metadata"]["name"]


def the_limits_leave_room_on_the_claim_of_the_base():
    flags = _arguments_of_policy()
    limit, floor = (int(flags[name].removesuffix("G")) for name in ("--cache-limit",
                                                                    "--free-floor"))
    claim = _one("base", "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"]
    assert (limit + floor) * 1000 ** 3 <= int(claim.removesuffix("Gi")) * 1024 ** 3


def what_is_kept_is_what_the_consumer_asks_for():
    (init,) = _pod("consumer")["initContainers"]
    kept = [item["repo"] for item in yaml.safe_load(_policy()["data"]["policy.yaml"])["keep"]]
    assert kept == [init["command"][2]]


def the_service_selects_the_pods_and_names_a_port_that_they_have():
    service, deployment = _one("base", "Service")["spec"], _one("base", "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    (port,) = service["ports"]
    assert port["targetPort"] == _port_of_base()["name"]
    assert port["appProtocol"] == "kubernetes.io/h2c"


def the_service_does_not_select_the_consumer():
    labels = _one("consumer", "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not _one("base", "Service")["spec"]["selector"].items() <= labels.items()


def every_object_says_what_it_belongs_to():
    for name in ("base", "consumer"):
        for item in _rendered(name):
            if item["kind"] != "ConfigMap":
                assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "hubcache"


def many_nodes_can_mount_the_cache_and_both_mount_the_same():
    claim = _one("base", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("base", "consumer"):
        volume = _claim(name)["persistentVolumeClaim"]
        assert volume["claimName"] == claim["metadata"]["name"]


def the_server_mounts_the_cache_where_its_config_says():
    (container,) = _pod("base")["containers"]
    mount = _mount(container, _claim("base")["name"])
    assert mount["mountPath"] == yaml.safe_load(_config_of_base())["cache-dir"]
    assert not mount.get("readOnly")
    assert _pod("base")["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def the_server_reads_the_config_that_is_mounted():
    (container,) = _pod("base")["containers"]
    (volume,) = [item for item in _pod("base")["volumes"] if "configMap" in item]
    assert volume["configMap"]["name"] == _one("base", "ConfigMap")["metadata"]["name"]
    path = _mount(container, volume["name"])["mountPath"] + "/hubcached.yaml"
    assert container["args"] == ["--config", path]


def the_token_is_an_optional_file_that_the_server_may_read():
    (container,) = _pod("base")["containers"]
    (volume,) = [item for item in _pod("base")["volumes"] if "secret" in item]
    assert volume["secret"]["optional"] is True
    assert volume["secret"]["defaultMode"] == 0o440 and _pod("base")["securityContext"]["fsGroup"]
    path = _environment(container)["HF_TOKEN_PATH"]
    assert path == _mount(container, volume["name"])["mountPath"] + "/token"


def kubernetes_waits_longer_than_the_grace_period():
    grace = yaml.safe_load(_config_of_base())["grace-period"]
    assert _pod("base")["terminationGracePeriodSeconds"] > int(str(grace).rstrip("s"))


def the_consumer_cannot_write_to_the_cache():
    for container in _containers("consumer"):
        assert _mount(container, _claim("consumer")["name"])["readOnly"] is True


def the_consumer_looks_where_the_cache_is_mounted_and_asks_no_hub():
    for container in _containers("consumer"):
        mount = _mount(container, _claim("consumer")["name"])["mountPath"]
        assert _environment(container)["HUBCACHE_MOUNT"] == mount
    (main,) = _pod("consumer")["containers"]
    assert _environment(main)["HF_HUB_CACHE"] == mount
    assert _environment(main)["HF_HUB_OFFLINE"] == "1"


def the_consumer_asks_the_service():
    service = _one("base", "Service")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for container in _containers("consumer"):
        assert _environment(container)["HUBCACHE_SERVER"] == address


def the_model_is_fetched_before_the_consumer_starts():
    (init,) = _pod("consumer")["initContainers"]
    (server,) = _pod("base")["containers"]
    assert init["command"][:2] == ["hubcache", "snapshot"]
    assert init["image"] == server["image"]


def hubcached_accepts_the_config_of_the_base():
    hubcached = built("hubcached")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "hubcached.yaml"
        path.write_text(_config_of_base())
        output_of(hubcached, "--check-config", "--config", path)


def hubcached_accepts_the_policy_also_with_what_is_in_its_comments():
    hubcached = built("hubcached")
    flags = _arguments_of_policy()
    text = _policy()["data"]["policy.yaml"]
    whole = re.sub(r"^# (?=[- ] ?(name|callers|action|bytes|prod)|aliases:|quotas:|  )", "",
                   text, flags=re.MULTILINE)
    assert {"aliases", "quotas"} <= yaml.safe_load(whole).keys()
    assert "admin" in [rule["action"] for rule in yaml.safe_load(whole)["rules"]]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "policy.yaml"
        for policy in (text, whole):
            path.write_text(policy)
            output_of(hubcached, "--check-config", f"--policy={path}",
                      *(f"{flag}={value}" for flag, value in flags.items() if flag != "--policy"))


def hubcached_refuses_a_config_with_an_unknown_key():
    hubcached = built("hubcached")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "hubcached.yaml"
        path.write_text(_config_of_base() + "grace-periode: 1\n")
        done = subprocess.run([hubcached, "--check-config", "--config", path], text=True,
                              stderr=subprocess.PIPE)
    assert done.returncode != 0 and "grace-periode" in done.stderr, done.stderr
