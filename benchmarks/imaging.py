"""Imaging side by side with its peers and its floor: CPU per picture, peak memory, quality.

Prints Markdown.

Jobs and goals are those of docs/reference/performance.md. Every contestant is a process of its own
that waits while the others run; rounds are interleaved, so that a busy machine hurts all alike,
and the median of the rounds counts.

    python -m benchmarks.imaging [--rounds 5] [--only J/A J/B J/C J/D K/A K/B K/D]
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.usage import peak_kib

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "tests/photos"
CAPTION = "С начала фазы запрещающего сигнала прошло: 7 секунд"
PYTHON_PEERS = ("Pillow naive", "Pillow tuned", "pyvips tuned")
# Goals as times faster than sharp (documented: must, stretch; tuned: must, stretch), and as times
# the floor.
GOALS = {
    "J/A": ((4.0, 6.0), (2.7, 4.2), None),
    "J/B": ((3.5, 4.2), (2.3, 2.6), (1.3, 1.15)),
    "J/C": ((2.8, 3.5), (1.6, 2.0), None),
    "J/D": ((4.0, 4.4), (2.2, 2.4), None),
    "K/A": ((3.3, 3.8), (3.0, 3.4), None),
    "K/B": ((3.3, 3.8), (3.0, 3.4), (1.3, 1.2)),
    "K/D": ((3.3, 3.8), (3.0, 3.4), None),
}
# Runs per turn, so that a turn takes about a fifth of a second.
TURNS = {"A": 20, "B": 2, "C": 1, "D": 1}


def inputs(folder: Path) -> dict[str, Path]:
    """A: the real 640x480 photograph; B: 12 megapixels as JPEG; C: B as PNG; D: 24 megapixels."""
    found = {"A": PHOTOS / "waterfall_640x480.jpg"}
    for name, width, height in (("B", 4000, 3000), ("D", 6000, 4000)):
        with Image.open(PHOTOS / "Landscape_1.jpg") as photo:
            tile = np.asarray(
                photo.convert("RGB").resize((width // 2, height // 2), Image.Resampling.LANCZOS)
            )
        noise = np.random.default_rng(1).normal(0, 3, (height, width, 1))
        pixels = np.clip(np.tile(tile, (2, 2, 1)) + noise, 0, 255).astype(np.uint8)
        found[name] = folder / f"{name}.jpg"
        Image.fromarray(pixels).save(found[name], quality=90, subsampling="4:2:0")
    found["C"] = folder / "C.png"
    Image.open(found["B"]).save(found["C"])
    return found


@dataclass
class Contestant:
    """A process that runs one job on one picture when told to."""

    name: str
    process: subprocess.Popen[str]
    times: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, job: str, picture: Path, caption: str) -> Contestant:
        """Starts it and waits for its first run."""
        if name.startswith("sharp"):
            command = ["node", str(HERE / "peers/sharp.mjs"), name.split()[1]]
        else:
            command = [sys.executable, str(HERE / "imaging_jobs.py"), name]
        command += [job, str(picture), *([caption] if caption else [])]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        contestant = cls(name, process)
        contestant.hear()
        return contestant

    def hear(self) -> str:
        """The next line that it says."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} died")
        return line.strip()

    def say(self, line: str) -> str:
        """Tells it something and returns the answer."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    @property
    def median(self) -> float:
        """CPU milliseconds per run."""
        return statistics.median(self.times)

    @property
    def peak_mib(self) -> float:
        """The most memory it ever held."""
        return peak_kib(self.process.pid) / 1024

    def stop(self) -> None:
        """Ends it."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def luma(data: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The brightness of a picture."""
    rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.float64)
    return np.asarray(rgb @ [0.299, 0.587, 0.114])


def reference(
    whole: np.ndarray[tuple[int, int], np.dtype[np.float64]], size: tuple[int, int]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Float Lanczos of the full decode."""
    return np.asarray(
        Image.fromarray(whole.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
    ).astype(float)


def quality(contestant: Contestant, job: str, picture: Path) -> dict[str, float]:
    """SSIM of what was shrunk, PSNR of what was made grey."""
    whole = luma(picture.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        contestant.say(f"save {folder}")
        results = {path.stem: luma(path.read_bytes()) for path in Path(folder).iterdir()}
    if job == "K":
        half = reference(np.rot90(whole), (results["k"].shape[1], results["k"].shape[0]))
        return {"SSIM": structural_similarity(half, results["k"], data_range=255)}
    found = {}
    for name in ("500x500", "100x100"):
        best = reference(whole, results[name].shape[::-1])
        found[f"SSIM {name[:3]}"] = structural_similarity(best, results[name], data_range=255)
    return {**found, "PSNR grey": peak_signal_noise_ratio(whole, results["gray"], data_range=255)}


def contest(
    case: str, picture: Path, rounds: int, *, sharp: bool
) -> tuple[dict[str, Contestant], dict[str, dict[str, float]]]:
    """Runs all contestants of a case in turns."""
    job, name = case.split("/")
    caption = CAPTION if case == "J/A" else ""
    names = ["atelier", *PYTHON_PEERS, *(["sharp documented", "sharp tuned"] if sharp else [])]
    names += ["floor"] if name != "C" else []
    running = {each: Contestant.start(each, job, picture, caption) for each in names}
    for _ in range(rounds):
        for contestant in running.values():
            contestant.times.append(float(contestant.say(str(TURNS[name]))))
    judged = {each: quality(one, job, picture) for each, one in running.items() if each != "floor"}
    return running, judged


def verdict(value: float, must: float, stretch: float, *, less: bool = False) -> str:
    """How a figure stands to its two goals."""
    good, best = (value <= must, value <= stretch) if less else (value >= must, value >= stretch)
    return f"{value:.2f}x ({'stretch' if best else 'must' if good else f'missed {must}x'})"


def report(case: str, running: dict[str, Contestant], judged: dict[str, dict[str, float]]) -> None:
    """Prints one case."""
    ours = running["atelier"]
    measures = list(judged["atelier"])
    print(f"\n### {case}\n\n| | CPU ms | times ours | peak MiB | {' | '.join(measures)} |")
    print("|---|" + "---|" * (3 + len(measures)))
    for name, one in sorted(running.items(), key=lambda item: item[1].median):
        marks = " | ".join(f"{judged[name][m]:.4f}" if name in judged else "" for m in measures)
        print(
            f"| {name} | {one.median:.2f} | {one.median / ours.median:.2f} | {one.peak_mib:.0f} "
            f"| {marks} |"
        )
    documented, tuned, floor = GOALS[case]
    print()
    if "sharp tuned" in running:
        print(
            "- against sharp documented: "
            f"{verdict(running['sharp documented'].median / ours.median, *documented)}"
        )
        print(
            "- against sharp tuned: "
            f"{verdict(running['sharp tuned'].median / ours.median, *tuned)}"
        )
        memory = ours.peak_mib / running["sharp documented"].peak_mib
        print(f"- peak memory against sharp documented: {verdict(memory, 0.75, 0.5, less=True)}")
        slack = 0.001 if case.startswith("J") else 0.005
        for measure in measures:
            if measure.startswith("SSIM"):
                gap = judged["atelier"][measure] - min(
                    judged[s][measure] for s in ("sharp documented", "sharp tuned")
                )
                print(
                    f"- {measure} against sharp: {gap:+.4f} "
                    f"({'met' if gap >= -slack else 'MISSED'})"
                )
    if "PSNR grey" in measures:
        gap = judged["atelier"]["PSNR grey"] - judged["Pillow tuned"]["PSNR grey"]
        print(f"- grey against Pillow's L: {gap:+.2f} dB ({'met' if gap >= -0.1 else 'MISSED'})")
    if floor:
        print(
            "- against the floor: "
            f"{verdict(ours.median / running['floor'].median, *floor, less=True)}"
        )


def scaling(ours: Contestant, rounds: int) -> None:
    """Two threads on two cores against one."""
    gains = []
    for _ in range(rounds):
        one, two = float(ours.say("wall 1 4")), float(ours.say("wall 2 4"))
        gains.append(2 * one / two)
    print(f"- two threads do {verdict(statistics.median(gains), 1.6, 1.9)} the work of one")


def main() -> None:
    """Runs the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(GOALS))
    arguments = parser.parse_args()
    sharp = shutil.which("node") is not None and (HERE / "peers/node_modules/sharp").exists()
    if not sharp:
        print("sharp is not installed: run `npm install --no-package-lock` in benchmarks/peers")
    with tempfile.TemporaryDirectory() as folder:
        pictures = inputs(Path(folder))
        for case in arguments.only:
            running, judged = contest(case, pictures[case[-1]], arguments.rounds, sharp=sharp)
            report(case, running, judged)
            if case == "J/B":
                scaling(running["atelier"], arguments.rounds)
            for contestant in running.values():
                contestant.stop()


if __name__ == "__main__":
    main()
