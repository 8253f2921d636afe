#!/usr/bin/env bash
# validate.sh BINARY PYTHON_BIN [HELM]: what in deploy/ can be validated without a cluster, AWS, or other servers.
# PYTHON_BIN is the bin folder of a venv with kubernetes-validate and cfn-lint. kubectl or kustomize, and promtool, are on the path.
# Without HELM the chart is left out, and that is said.
set -euo pipefail
binary=$1 python=$2 helm=${3:-}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export PYTHONDONTWRITEBYTECODE=1

render() {
    if command -v kustomize >/dev/null; then kustomize build "$1"; else kubectl kustomize "$1"; fi
}
# Kinds of the Prometheus Operator have no schema here: those are left out by kubernetes-validate with a warning.
strict() {
    local version
    for version in 1.31.0 1.37.0; do
        if ! "$python/kubernetes-validate" --strict -k "$version" "$@" >"$out/said" 2>&1; then
            cat "$out/said"
            return 1
        fi
        if grep "Couldn't find schema" "$out/said" | grep -v monitoring.coreos.com/v1; then return 1; fi
        echo "Kubernetes $version: $(grep -c ' passed ' "$out/said") objects pass, $(grep -c "Couldn't find schema" "$out/said" || true) of the operator have no schema"
    done
}

echo "--- kustomize"
mkdir "$out/kubernetes"
for overlay in eks eks-sharded prometheus-statefulset es-retention-push-gateway; do
    render "deploy/kubernetes/overlays/$overlay" >"$out/kubernetes/$overlay.yaml"
done
render deploy/es-retention >"$out/kubernetes/es-retention.yaml"
strict "$out"/kubernetes/*.yaml deploy/es-retention/register-repo.yaml
"$python/python" tests/deploy/manifests.py "$binary" "$out"/kubernetes/*.yaml
# The operator's own objects: no schema, but the patch must have come through.
render deploy/kubernetes/overlays/prometheus-operator | grep 'image: registry.example.com/sabre' >/dev/null || { echo "the operator's image is not patched"; exit 1; }

"$python/python" tests/deploy/start.py "$binary" "$out"/kubernetes/*.yaml

echo "--- CloudFormation"
"$python/cfn-lint" --include-checks I -t deploy/cloudformation/sabre.yaml

echo "--- IAM policies are JSON"
for policy in deploy/iam/*.json deploy/es-retention/iam/*.json; do
    "$python/python" -m json.tool "$policy" /dev/null
done

echo "--- rules and dashboards"
promtool check rules deploy/monitoring/rules.yaml
promtool test rules tests/deploy/rules/*.yaml
"$python/python" tests/deploy/alerts.py
mkdir "$out/dashboards"
"$python/python" deploy/monitoring/dashboards.py "$out/dashboards"
diff -r "$out/dashboards" deploy/monitoring/dashboards || { echo "run deploy/monitoring/dashboards.py deploy/monitoring/dashboards"; exit 1; }
cmp deploy/monitoring/rules.yaml deploy/helm/sabre/files/rules.yaml || { echo "copy deploy/monitoring/rules.yaml into the chart"; exit 1; }

if [ -n "$helm" ]; then
    echo "--- Helm"
    mkdir "$out/helm"
    for values in tests/deploy/helm/*.yaml; do
        name=$(basename "$values" .yaml)
        "$helm" lint --strict --quiet --kube-version 1.31.0 deploy/helm/sabre -f "$values"
        "$helm" template release deploy/helm/sabre --kube-version 1.31.0 --namespace monitoring -f "$values" >"$out/helm/$name.yaml"
    done
    strict "$out"/helm/*.yaml
    "$python/python" tests/deploy/manifests.py "$binary" "$out"/helm/*.yaml
    "$python/python" tests/deploy/start.py "$binary" "$out"/helm/*.yaml
    "$helm" template release deploy/helm/sabre --kube-version 1.31.0 -f tests/deploy/helm/copied.yaml \
        --set storegateway.podSecurityContext.enabled=false --set storegateway.containerSecurityContext.enabled=false >"$out/open.yaml"
    strict "$out/open.yaml"
    for refused in queryFrontend bucketweb ruler receive; do
        if "$helm" template release deploy/helm/sabre --kube-version 1.31.0 --set objstoreConfig=x --set $refused.enabled=true >"$out/said" 2>&1; then
            echo "$refused is not refused"
            exit 1
        fi
        grep -q "$refused is not built" "$out/said" || { cat "$out/said"; exit 1; }
    done
else
    echo "--- Helm: left out, no helm was given"
fi
echo "--- what is to be there"
"$python/python" tests/deploy/contents.py "$out"
echo "deploy: ok"
