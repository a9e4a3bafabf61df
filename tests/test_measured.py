"""The READMEs quote what going_further/measured holds, and no other figure.

After `make measured` the failures show the sentences that have to change.
"""

import json
import re
from statistics import median

import pytest

import measured_files
from conftest import ROOT
from going_further import pairs, refills, sweep
from going_further.benchmark import table as benchmark_table
from going_further.summary import (
    FEED_DICT,
    FLOOR,
    examples_per_second,
    named,
    predicted_ms,
    summarize,
    sweep_points,
)
from going_further.versions.releases import RELEASES
from going_further.versions.table import summarize as summarize_versions
from going_further.versions.table import table as versions_table
from support import forecast, verdict
from support.comparison import ARTICLE_FEED_DICT, ARTICLE_QUEUE

MEASURED = ROOT / "going_further" / "measured"
MAIN, FURTHER = "README.md", "going_further/README.md"
VERSIONS = "going_further/versions/README.md"


def text_of(page):
    return (ROOT / page).read_text()


def measured(name):
    return json.loads((MEASURED / (name + ".json")).read_text())


def percent(share):
    return f"{share:.0%}".replace("%", " %")


QUEUE, TF_DATA = named("queue", 1), named("tf.data", 1)
RUNS = [json.loads(line) for line in (MEASURED / "run.jsonl").read_text().split("\n") if line]
BENCHMARK = measured("benchmark")
ROWS = summarize(BENCHMARK["rounds"], BENCHMARK["machine"]["cores"])
POINTS = {over: sweep_points(measured(over)["series"]) for over in ("batch_size", "capacity")}
LATENCY_POINTS = sweep_points(measured("read_latency")["series"])
PAIRS = measured("pairs")
PAIR_ROWS = pairs.summarize(PAIRS["runs"], PAIRS["machine"]["cores"])
RELEASE_ROWS = summarize_versions(measured("versions")["releases"])

# ------------------------------------------------------------------ blocks


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)```", text_of(page), re.M | re.S)


def test_tables_are_those_of_what_was_measured():
    shown = {page: blocks(page, "text measured") for page in (MAIN, FURTHER, VERSIONS)}
    tables = {
        MAIN: [sweep.capacity_table(POINTS["capacity"]), pairs.table(PAIR_ROWS)],
        FURTHER: [
            benchmark_table(ROWS),
            sweep.read_latency_table(LATENCY_POINTS),
            sweep.batch_size_table(POINTS["batch_size"]),
            *measured_files.TABLES,
        ],
        VERSIONS: [versions_table(measured("versions")["releases"])],
    }
    for page, lines_of_each in tables.items():
        assert shown[page] == ["\n".join(lines) + "\n" for lines in lines_of_each], page
    assert [row["tensorflow"] for row in RELEASE_ROWS] == list(RELEASES)


def test_output_shown_is_that_of_one_run():
    printed = (MEASURED / "run.txt").read_text().splitlines()
    for block in blocks(MAIN, "text"):
        assert len(block.splitlines()) > 5
        for stretch in block.split("...\n"):  # lines that follow each other
            lines = stretch.splitlines()
            starts = range(len(printed) - len(lines) + 1)
            assert any(printed[start : start + len(lines)] == lines for start in starts), stretch


def test_in_the_picture_of_03_each_call_comes_as_early_as_it_can():
    data = measured("refills")
    assert refills.states(data["events"], data["settings"]["refill"])[1] == [0, 3, 9]


def test_all_was_measured_on_one_machine():
    machines = [
        {name: json.loads(path.read_text())["machine"][name] for name in ("cpu", "cores")}
        for path in MEASURED.glob("*.json")
    ]
    assert len(machines) == 17
    assert all(machine == machines[0] for machine in machines)


# ------------------------------------------------------------------ sentences

NAMES = {
    forecast.TRAINING: "training",
    forecast.INPUT: "the input",
    forecast.CPU: "the CPU time",
}
CORES = PAIRS["machine"]["cores"]


def ms_of(run):
    return 1000 * run["seconds"] / run["steps"]


def foretold():
    _, foreseen = forecast.longest(forecast.bounds(RUNS[0::2], CORES))
    ms = ms_of(RUNS[-1])
    return (
        f"Above, 01 foretells {foreseen:.2f} ms, and the last 04 takes {ms:.2f}, which is "
        f"{ms / foreseen:.2f} of that."
    )


def forecasts_of_all_pairs():
    medians = [row["of_forecast"][1] for row in PAIR_ROWS]
    ends = [end for row in PAIR_ROWS for end in row["of_forecast"]]
    far = [row for row in PAIR_ROWS if abs(row["of_forecast"][1] - 1) > 0.1]
    assert {row["read_latency_ms"] for row in far} == {0}  # or the last sentence has to change
    return (
        f"In the {len(medians)} cases measured [below](#what-it-saves-measured) 04 took "
        f"{min(medians):.2f} to {max(medians):.2f} of its forecast, in "
        f"{len(medians) - len(far)} of them within 10 %. "
        f"(These are medians of {PAIRS['settings']['rounds']} pairs of runs. Single pairs were "
        f"between {min(ends):.2f} and {max(ends):.2f}, for the machine changes its pace between "
        "two runs.) The others are cases in which no read waits."
    )


def slow_disk():
    key = ("2.21.0", 10)
    fed = [
        run
        for run in PAIRS["runs"]
        if (run["tensorflow"], run["read_latency_ms"]) == key and run["variant"] == FEED_DICT
    ]
    bounds = forecast.bounds(fed, CORES)
    longest = [NAMES[forecast.longest(forecast.at(bounds, threads))[0]] for threads in (1, 4)]
    took = [pair_row(*key, threads)["of_forecast"][1] for threads in (1, 4)]
    return (
        f"With `--read_latency_ms 10` training took {bounds[forecast.TRAINING]:.2f} ms, an input "
        f"{bounds[forecast.INPUT]:.2f}, and CPU time / cores was "
        f"{bounds[forecast.CPU]:.2f} (2.21.0, medians). With one thread {longest[0]} is the "
        f"longest; with 4 threads, which bring the input down to {bounds[forecast.INPUT] / 4:.2f}, "
        f"{longest[1]}. 04 took {took[0]:.2f} and {took[1]:.2f} of that."
    )


def pair_row(*key):
    names = ("tensorflow", "read_latency_ms", "threads")
    (row,) = [row for row in PAIR_ROWS if tuple(row[name] for name in names) == key]
    return row


def looks():
    shares = sorted(run["empty"] for run in PAIRS["runs"] if run["variant"] != FEED_DICT)
    between = [share for share in shares if 0.02 < share < 0.98]
    return (
        f"In {len(shares) - len(between)} of the {len(shares)} runs of 04 measured below the queue "
        "was empty at no look or at all of them, within 2 %; in the rest at "
        f"{' and '.join(map(percent, between))}."
    )


def runs_busy():
    shares = [percent(run["busy"]) for run in RUNS[-2:]]
    return f"no GPU was tried; 2 cores were busy for {shares[0]} and {shares[1]}"


def cpu_seconds():
    fed, queue = (run["cpu_seconds"] for run in RUNS[-2:])
    return f"Above, the last 01 used {fed:.0f} s of CPU time, and the last 04 {queue:.0f} s."


def capacities():
    ms = {(one["threads"], one["value"]): one["ms"][1] for one in POINTS["capacity"]}
    four = [figure for (threads, _), figure in ms.items() if threads == 4]
    return (
        f"With one thread a step takes {ms[1, 1]:.1f} ms where 1 batch fits, {ms[1, 5]:.1f} where "
        f"5 do, and {ms[1, 20]:.1f} where 20 do, which last longer than the slow read. With 4 "
        "threads, three of which go on while one waits, it is "
        f"{min(four):.1f} to {max(four):.1f} with any capacity."
    )


def pairs_settings():
    settings = PAIRS["settings"]
    return f"{settings['rounds']} runs of each by turns, {settings['steps']} steps each"


def batches():
    of = {p["value"]: p["of_feed_dict"][1] for p in POINTS["batch_size"] if p["kind"] == "queue"}
    best = min(of, key=of.get)
    return (
        f"on a CPU, more examples are trained in a second, with either. The queue takes "
        f"{of[best]:.2f} of feed_dict's time with {best}, and {of[2048]:.2f} with 2048"
    )


def batch_rates():
    rate = {(p["kind"], p["value"]): examples_per_second(p) for p in POINTS["batch_size"]}
    gain = [rate[kind, 2048] / rate[kind, 128] for kind in (FEED_DICT, "queue")]
    return (
        f"From 128 to 2048 feed_dict gets {gain[0]:.1f} times as fast, and the queue "
        f"{gain[1]:.1f} times."
    )


def copies():
    data = measured("trace")
    us = [event["dur"] for event in data["traceEvents"] if event["name"] == "copying"]
    return f"so it does, for {sum(us) / 1000 / data['settings']['steps']:.1f} ms of a step"


def less_time():
    less = [1 - pair_row("2.21.0", latency, 1)["of_feed_dict"][1] for latency in (0, 3, 10)]
    return (
        f"{percent(less[0])} less where a read doesn't wait, {percent(less[1])} where it waits for "
        f"3 ms, {percent(less[2])} for 10 ms (2.21.0, 1 thread)"
    )


def batch_busy():
    series = measured("batch_size")["series"]
    share = {
        one["kind"]: median(turn["cpu_ms"] / turn["ms"] / CORES for turn in one["rounds"])
        for one in series
        if one["value"] == 2048
    }
    return (
        f"With 2048 examples the CPU is busy for {percent(share[FEED_DICT])} of the time with "
        f"feed_dict, and for {percent(share['queue'])} with the queue"
    )


def versions_of_the_readme():
    first, last = RELEASE_ROWS[0], RELEASE_ROWS[-1]
    return (
        f"Here the queue took {first['of_feed_dict'][1]:.2f} of feed_dict's time on 1.0.0, and "
        f"{last['of_feed_dict'][1]:.2f} on 2.21.0."
    )


def one_case():
    """What different experiments of this day found for 04 as it is by default."""
    batches = {point["value"]: point for point in POINTS["batch_size"] if point["kind"] == "queue"}
    ratios = [
        median(queue["seconds"] / fed["seconds"] for fed, queue in zip(RUNS[0::2], RUNS[1::2])),
        pair_row("2.21.0", 0, 1)["of_feed_dict"][1],
        ROWS["variants"][QUEUE]["of_feed_dict"][1],
        batches[128]["of_feed_dict"][1],
        RELEASE_ROWS[-1]["of_feed_dict"][1],
    ]
    return (
        "Five experiments of this day have the same case, 2.21.0, one thread and no wait, and "
        f"give {min(ratios):.2f} to {max(ratios):.2f} of feed_dict's time."
    )


def input_s_shares():
    shares = [share for _, share in added_by_feed_dict()]
    return (
        f"With feed_dict the input is {percent(shares[0])} of a step on 1.0.0, and "
        f"{percent(shares[-1])} on 2.21.0."
    )


def added_by_feed_dict():
    """[(ms that the input adds to a step, its share of the step)], of each TensorFlow."""
    found = []
    for release in measured("versions")["releases"]:
        turns = list(zip(release["rounds"][FEED_DICT], release["rounds"][FLOOR]))
        added = median(fed["ms"] - floor["ms"] for fed, floor in turns)
        found.append((added, median(1 - floor["ms"] / fed["ms"] for fed, floor in turns)))
    return found


def what_feed_dict_adds():
    added, shares = zip(*added_by_feed_dict())
    return (
        f"With feed_dict the input adds {min(added):.1f} to {max(added):.1f} ms to a step on all "
        f"of them (medians of the differences, turn by turn). That is {percent(shares[0])} of the "
        f"step on 1.0.0, and {percent(shares[-1])} on 2.21.0."
    )


def without_onednn():
    data = measured("without_onednn")
    (slower,) = summarize_versions([dict(data, **data["versions"])])
    both = RELEASE_ROWS[-1]
    return (
        f"Then {slower['tensorflow']} takes {slower['ms'][FLOOR][1]:.1f} ms for a step without "
        f"input, where it takes {both['ms'][FLOOR][1]:.1f} with both"
    )


def to_download():
    gigabytes = [
        sum(getattr(release, name) for release in RELEASES.values()) / 1000
        for name in ("download_mb", "disk_mb")
    ]
    return "{:.0f} GB to download, {:.0f} GB on the disk".format(*gigabytes)


def of(name):
    return f"{ROWS['variants'][name]['of_feed_dict'][1]:.2f}"


def busy(name):
    return percent(ROWS["variants"][name]["busy"])


def callable_saves():
    name = QUEUE + ", make_callable"
    return f"with it a step takes {of(name)} of feed_dict's time, without it {of(QUEUE)}"


def queues_of_examples():
    kind = "queue of examples, "
    return (
        f"Filled by the batch, with `enqueue_many`, it takes {of(kind + 'enqueue_many')} of "
        "feed_dict's time. An op to enqueue each example makes that "
        f"{of(kind + 'an enqueue each')}, an op to read each {of(kind + 'a read each')}, and a run "
        f"of the session for each {of(kind + 'a run each')}. So it is the runs that cost."
    )


def tf_data_s_cores():
    one, all_cores = TF_DATA, TF_DATA + ", all cores"
    return (
        f"The queue keeps the cores busy for {busy(QUEUE)} of the time, tf.data for {busy(one)}. "
        "tf.data computes each op of its functions on one core, where a session spreads it over "
        "all. With `options.threading.max_intra_op_parallelism` at 2 they are busy for "
        f'{busy(all_cores)} (the line "all cores"), and a step takes {of(all_cores)} of '
        "feed_dict's time. Without it "
        f"tf.data takes {of(one)}; the queue takes {of(QUEUE)}."
    )


def autotune():
    tuned = of("tf.data, AUTOTUNE")
    return f"Here it takes {tuned} of feed_dict's time, and a single thread {of(TF_DATA)}."


def furthest_off():
    off = []
    for point in LATENCY_POINTS:
        predicted = predicted_ms(point, LATENCY_POINTS)
        off += [abs(point["ms"][1] / predicted - 1)] if predicted else []
    return f"Points are off by {percent(max(off))} at most"


def machine():
    versions = BENCHMARK["versions"]
    return (
        f"TensorFlow {versions['tensorflow']}, Python {versions['python'].rpartition('.')[0]}, "
        f"{CORES:g} cores ({BENCHMARK['machine']['cpu']}, shared), no GPU"
    )


SENTENCES = {
    MAIN: [
        foretold,
        forecasts_of_all_pairs,
        slow_disk,
        looks,
        capacities,
        pairs_settings,
        copies,
        runs_busy,
        less_time,
        batches,
        batch_rates,
        batch_busy,
        cpu_seconds,
        one_case,
        input_s_shares,
        versions_of_the_readme,
        *measured_files.MAIN_SENTENCES,
    ],
    FURTHER: [
        machine,
        lambda: f"keeps busy for {busy(QUEUE)} of the time",
        callable_saves,
        queues_of_examples,
        tf_data_s_cores,
        furthest_off,
        autotune,
        *measured_files.FURTHER_SENTENCES,
    ],
    VERSIONS: [to_download, what_feed_dict_adds, without_onednn],
}


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("page", SENTENCES)
def test_sentences_are_those_of_what_was_measured(page):
    text = words(text_of(page))
    expected = [sentence() for sentence in SENTENCES[page]]
    assert [sentence for sentence in expected if words(sentence) not in text] == []


# ------------------------------------------------------------------ no other figure

FIGURE = (
    r"(?<![\w.,])\d[\d,]*\.\d+(?![\w.])"  # with a fraction
    r"|(?<![\w.])\d[\d,]*(?:\.\d+)?(?:%| (?:%|ms|s|MiB|GB|hours?|minutes?)(?!\w))"  # with a unit
)


def of_the_article():
    """Its own figures, and what follows from them."""
    runs = (ARTICLE_FEED_DICT[0], ARTICLE_QUEUE[0])
    gpu_ms = [ms_of(run) * run["busy"] for run in runs]
    fed, queue = (f"{run['seconds']:g}" for run in runs)
    fed_busy, queue_busy = (percent(run["busy"]) for run in runs)
    less = percent(1 - runs[1]["seconds"] / runs[0]["seconds"])
    return [
        f"for {fed_busy} of {fed} s, with the queue for {queue_busy} of {queue} s: that is "
        f"{gpu_ms[0]:.1f} and {gpu_ms[1]:.1f} ms in each of 5000 steps",
        f"a step with the queue took {ms_of(runs[1]):.1f} ms",
        f"{fed_busy} of the time with feed_dict, for {queue_busy} with the queue",
        f"33 % less time (by its own two times {less})",
        f"which needed about {gpu_ms[1]:.0f} ms",
    ]


def settings():
    """What the code has, and what the commands shown ask for."""
    full, batch_mib = percent(verdict.BUSY), 128 * 1024 * 4 / 2**20
    return [
        f"the CPU was {full} busy or more",
        f"The CPU was {full} busy, or",
        f"From {full} on",
        f"If 04 needs {verdict.LITTLE} of feed_dict's time or more",
        f"at {batch_mib} MiB each with 128 examples",
        "each read also waits for 3 ms",
        "let every 20th read wait for 50 ms",
        "Where recording slows a step by more than 10 %",
    ]


# Of other days. Their files are in this repository's history.
OTHER_DAYS = [
    "it was 0.81 and 0.91 (medians of 7 and 12 pairs)",
    "On another day it was 0.94 and 0.82.",
]
# How long commands take, roughly: that depends on the machine, and on its network.
DURATIONS = ["in 25 minutes", "in 15 minutes", ": 25 minutes", ": 15 minutes", ": 1 minute"]
RELEASED = [  # versions
    "Python 3.9 to 3.13",
    "before 1.5",
    "from 1.13 on",
    "from 1.5 on",
    "from 1.14 on",
    "from 2.9 on",
    "1.12 faster than 1.8",
    "Python 3.6, 3.7, 3.8 and 3.11",
]


@pytest.mark.parametrize("page", SENTENCES)
def test_there_is_no_other_figure(page):
    text = prose(page)
    known = [sentence() for sentence in SENTENCES[page]] + [downloads()]
    known += of_the_article() + settings() + OTHER_DAYS + DURATIONS + RELEASED
    known += measured_files.GIVEN
    for sentence in known:
        text = text.replace(without_code(sentence), "")
    assert re.findall(FIGURE, text) == []


def downloads():
    return to_download().partition(",")[0].replace("to download", "of downloads")


def prose(page):
    """A page's text without code and links, as far as the instructions for an installation."""
    text = text_of(page).partition("\n## Other ways to install")[0]
    return without_code(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def without_code(text):
    return words(re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text))
