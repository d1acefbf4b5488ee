#!/bin/sh
# Makes every committed number anew that a Python package gave, and fails where one comes out otherwise: `make reference`.
# The scripts give the same bytes on any machine (they compute in f64 and round, see dcgan_steps.py), but for inception.py and
# inception_sets.py, whose packages compute in f32, and privacy.py: they leave a file alone that agrees within the tolerance that they state.
# PYTHON may name an interpreter that has what requirements.txt and requirements-privacy.txt name; else .venv-reference is made.
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=.venv-reference/bin/python
    [ -x "$PYTHON" ] || python3 -m venv .venv-reference
    "$PYTHON" -m pip install --quiet --requirement scripts/reference/requirements.txt \
        --requirement scripts/reference/requirements-privacy.txt
fi

for script in \
    crates/effgan-run/tests/fixtures/tensorboard_events.py \
    crates/effgan-data/tests/fixtures/resize.py \
    crates/effgan-data/tests/fixtures/dicom.py \
    crates/effgan-metrics/tests/fixtures/frechet.py \
    crates/effgan-metrics/tests/fixtures/agreement.py \
    crates/effgan-metrics/tests/fixtures/membership.py \
    crates/effgan-metrics/tests/fixtures/sliced_wasserstein.py \
    crates/effgan-metrics/tests/fixtures/inception.py \
    crates/effgan-metrics/tests/fixtures/inception_sets.py \
    crates/effgan-nn/tests/fixtures/adam.py \
    crates/effgan-nn/tests/fixtures/dcgan_steps.py \
    crates/effgan-nn/tests/fixtures/resnet_steps.py \
    crates/effgan-nn/tests/fixtures/state_dicts.py \
    scripts/reference/privacy.py
do
    echo "$script"
    "$PYTHON" "$script"
done

git diff --exit-code --stat -- 'crates/*/tests/fixtures'
echo "every reference number came out as committed"
