"""A few tools for a task's text, out of ten thousand within ten milliseconds."""

import random
import time

from sea.retrieve import Retriever, of_library, words

TEXTS = {
    "mean_speed": "Return the distance divided by the time. distance hours",
    "sorted_words": "Return the words in order. words",
    "count_vowels": "Return how many vowels a text holds. text",
}


def test_words_of_names_and_sentences():
    assert words("meanSpeed_of cities, 12 dogs running") == [
        "mean",
        "speed",
        "of",
        "city",
        "12",
        "dog",
        "runn",
    ]


def test_the_tool_that_suits_comes_first():
    index = Retriever(TEXTS.items())
    assert index.find("How many vowels has this text?")[0].name == "count_vowels"
    assert index.find("At what speed, given distances and hours?")[0].name == "mean_speed"
    assert index.find("zebra") == []
    assert len(index.find("return the words of the text", 2)) == 2


def test_a_library_is_searched_by_its_docstrings(evolved):
    library = evolved[1]
    names = {found.name for found in of_library(library).find(" ".join(library.names()), 100)}
    assert names == set(library.active())


def test_ten_thousand_tools_within_ten_milliseconds():
    draw = random.Random(7)
    common = [f"w{n}" for n in range(3000)]
    filler = [
        "return",
        "the",
        "value",
        "of",
        "a",
        "for",
        "example",
        "number",
        "list",
        "total",
        "given",
        "type",
        "int",
    ]
    tools = [
        (f"tool_{n}", " ".join([*draw.choices(filler, k=20), *draw.choices(common, k=12)]))
        for n in range(10_000)
    ]
    index = Retriever([*tools, *TEXTS.items()])
    tasks = [" ".join([*filler, *draw.choices(common, k=40), "vowels"]) for _ in range(21)]
    taken = []
    for task in tasks:
        begun = time.thread_time()
        found = index.find(task)
        taken.append(time.thread_time() - begun)
        assert len(found) == 5
    print(f"median {sorted(taken)[10] * 1000:.2f} ms, most {max(taken) * 1000:.2f} ms")
    assert sorted(taken)[10] < 0.010
    assert index.find("Return the number of vowels")[0].name == "count_vowels"
