"""ε of private trainings by Opacus and dp-accounting, written to crates/effgan-privacy/tests/fixtures/epsilons.json.

200 random settings of one mechanism, 20 of two, and the setting that the documents quote. For each: ε by the RDP of both packages, and
dp-accounting's pessimistic and optimistic ε by privacy loss distributions. `opacus_edge` says that Opacus warns that its best order
is its smallest or largest one.

At fractional orders, dp-accounting 0.6 adds up the absolute values of an alternating series, and leaves out orders at which the sum
does not converge, so its RDP is an upper bound there. `dp_accounting_rdp` is at Opacus' orders, and `dp_accounting_integer_rdp` at the
integers among them, where the sum is exact. Where δ² exceeds 1 - exp(-RDP), dp-accounting answers 0 and Opacus does not.

The distance of the losses is dp-accounting's default of 1e-4, or less where its error would exceed about 1e-4 of ε, but no less than
memory allows; it is written beside the numbers. The pessimistic estimate connects the dots (Doroshenko et al. 2022). The optimistic
one can only round losses down, so over many steps it lies lower than the grid suggests.

Where ε is above 709, dp-accounting 0.6 may overflow and say infinity: null.

Takes ten minutes of one core and 2 GB. Numbers have 9 digits, not all of which another processor reproduces: where the file agrees to
1e-5 it is left alone. Needs what requirements-privacy.txt names.
"""

import json
import logging
import math
import random
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis import rdp as opacus_rdp

FIXTURE = Path(__file__).parents[2] / "crates/effgan-privacy/tests/fixtures/epsilons.json"
ORDERS = RDPAccountant.DEFAULT_ALPHAS
INTEGERS = [order for order in ORDERS if order == int(order)]
# Points of the grid that one distribution may have.
MAX_POINTS = 5e5


def log_uniform(rng, low, high):
    """A number with 4 digits."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.4g}")


def step(rng):
    """(noise multiplier, sample rate, steps)"""
    return log_uniform(rng, 0.3, 10), log_uniform(rng, 1e-5, 0.5), round(log_uniform(rng, 1, 100_000))


def by_opacus(parts, delta):
    """ε, its order, and whether that is the first or the last one."""
    rdp = sum(opacus_rdp.compute_rdp(q=q, noise_multiplier=sigma, steps=steps, orders=ORDERS) for sigma, q, steps in parts)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        epsilon, order = opacus_rdp.get_privacy_spent(orders=ORDERS, rdp=rdp, delta=delta)
    return float(epsilon), float(order), any("Optimal order" in str(warning.message) for warning in caught)


def by_rdp(parts, delta, orders):
    """ε by dp-accounting's RDP."""
    accountant = RdpAccountant(orders)
    for sigma, q, steps in parts:
        accountant.compose(SelfComposedDpEvent(PoissonSampledDpEvent(q, GaussianDpEvent(sigma)), steps))
    return float(accountant.get_epsilon(delta))


def grids(parts, epsilon, order):
    """Distances of the losses: at a distance h, connecting dots adds about steps · order · h² / 12 to ε, and rounding down takes about
    steps · h / 2."""
    steps = sum(steps for _, _, steps in parts)
    wanted = math.sqrt(12e-4 * epsilon / (steps * order)), 2e-3 * epsilon / steps
    # From 7 deviations below 0 to 10 above 1, the loss of one step spans at most this, and that of all steps about ε.
    span = max([epsilon / 2] + [(17 / sigma + 1 / sigma**2) / 2 * min(1, 1e3 * q) for sigma, q, _ in parts])
    return [float(f"{max(min(1e-4, distance), span / MAX_POINTS):.2g}") for distance in wanted]


def by_distribution(parts, delta, interval, pessimistic):
    """ε by dp-accounting's privacy loss distributions."""
    total = None
    for sigma, q, steps in parts:
        one = pld.from_gaussian_mechanism(
            standard_deviation=sigma,
            sampling_prob=q,
            pessimistic_estimate=pessimistic,
            use_connect_dots=pessimistic,
            value_discretization_interval=interval,
            log_mass_truncation_bound=-60,
        ).self_compose(steps)
        total = one if total is None else total.compose(one)
    return float(total.get_epsilon_for_delta(delta))


def rounded(value):
    return float(f"{value:.9g}") if math.isfinite(value) else None


def case(parts, delta):
    epsilon, order, is_edge = by_opacus(parts, delta)
    fine, finer = grids(parts, max(epsilon, 1e-3), order)
    result = {
        "steps": [{"noise_multiplier": sigma, "sample_rate": q, "steps": steps} for sigma, q, steps in parts],
        "delta": delta,
        "opacus_rdp": rounded(epsilon),
        "opacus_order": order,
        "opacus_edge": is_edge,
        "dp_accounting_rdp": rounded(by_rdp(parts, delta, ORDERS)),
        "dp_accounting_integer_rdp": rounded(by_rdp(parts, delta, INTEGERS)),
        "pessimistic_interval": fine,
        "pessimistic": rounded(by_distribution(parts, delta, fine, pessimistic=True)),
        "optimistic_interval": finer,
        "optimistic": rounded(by_distribution(parts, delta, finer, pessimistic=False)),
    }
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def agree(old, new):
    """Whether all numbers of two results differ by less than 1e-5, by what FFTs of other builds change at the smallest δ."""
    if isinstance(new, dict):
        return old.keys() == new.keys() and all(agree(old[key], new[key]) for key in new)
    if isinstance(new, list):
        return len(old) == len(new) and all(map(agree, old, new))
    if isinstance(new, float) and isinstance(old, (float, int)):
        return abs(new - old) <= 1e-5 * abs(old)
    return new == old


def main():
    rng = random.Random(25)
    ones = [([step(rng)], log_uniform(rng, 1e-9, 1e-3)) for _ in range(200)]
    twos = [([step(rng), step(rng)], log_uniform(rng, 1e-9, 1e-3)) for _ in range(20)]
    quoted = ([(1.5, 0.04, 2250)], 1e-5)
    logging.disable()  # dp-accounting names each order that it leaves out.
    packages = ["opacus", "dp-accounting", "numpy", "scipy", "torch"]
    versions = {package: version(package) for package in packages}
    result = {"versions": versions, "cases": [case(parts, delta) for parts, delta in [quoted, *ones, *twos]]}
    if FIXTURE.exists() and agree(json.loads(FIXTURE.read_text()), result):
        print(FIXTURE.name, "agrees")
        return
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in result["cases"])
    FIXTURE.write_text(f'{{"versions":{json.dumps(versions)},"cases":[\n{lines}\n]}}\n')
    print("wrote", FIXTURE.name)


if __name__ == "__main__":
    main()
