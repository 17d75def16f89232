"""Which questions are about posts, and which only look so: `python -m benchmarks.overview`.

Three parts of thirty and thirty. The rules were made with the first in sight; the second and the third were written
afterwards, without looking at the rules, and what each of them gave before it was learned from stands in RESULTS.md. A
question about posts counts only if it was read right, too: what is wanted, which topic, which days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from benchmarks.common import print_table
from rag.finding.overview import understood
from rag.finding.query import parse

TODAY = date(2025, 8, 14)  # a Thursday

Row = tuple[str, str, str, str | None, str | None]
"""A question, what is wanted, the topic or "tag:" and a tag, the first and the last day."""

FIRST_POSTS: tuple[Row, ...] = (
    ("Which posts mention sourdough?", "list", "sourdough", None, None),
    ("which of my posts talk about kubernetes", "list", "kubernetes", None, None),
    ("posts about electric bikes", "list", "electric bikes", None, None),
    ("show me everything on beekeeping", "list", "beekeeping", None, None),
    ("list all posts about my grandmother", "list", "my grandmother", None, None),
    ("all my posts on django migrations", "list", "django migrations", None, None),
    ("find posts that mention Lisbon", "list", "Lisbon", None, None),
    ("do i have any posts about depression?", "list", "depression", None, None),
    ("have I ever written about tax returns", "list", "tax returns", None, None),
    ("did i ever blog about the eclipse?", "list", "the eclipse", None, None),
    ("where do i mention Ursula Le Guin", "list", "Ursula Le Guin", None, None),
    ("how many posts about running?", "list", "running", None, None),
    ("how many times have i written about rust", "list", "rust", None, None),
    ("how many posts did I write in 2023", "list", "", "2023-01-01", "2023-12-31"),
    ("How many blog posts do I have?", "list", "", None, None),
    ("number of posts on climbing since 2021", "list", "climbing", "2021-01-01", None),
    ("What did I write in March 2023?", "list", "", "2023-03-01", "2023-03-31"),
    ("what have i published this month", "list", "", "2025-08-01", "2025-08-31"),
    ("posts from last year", "list", "", "2024-01-01", "2024-12-31"),
    ("everything i wrote between 2019 and 2020", "list", "", "2019-01-01", "2020-12-31"),
    ("whats my latest post on tomatoes", "latest", "tomatoes", None, None),
    ("most recent post about postgres", "latest", "postgres", None, None),
    ("newest post?", "latest", "", None, None),
    ("when did i last write about knitting", "latest", "knitting", None, None),
    ("when was the last time I blogged about elections?", "latest", "elections", None, None),
    ("my first post about parenting", "first", "parenting", None, None),
    ("what was the very first thing i posted", "first", "", None, None),
    ("oldest posts about photography", "first", "photography", None, None),
    ("list everything tagged travel", "list", "tag:travel", None, None),
    ("what tags do I use?", "tags", "", None, None),
)
FIRST_ORDINARY: tuple[str, ...] = (
    "How many eggs does the cake in my latest post need?",
    "how many posts does a fence of ten metres need",
    "Which posts of the bed frame did I glue?",
    "What did I learn in March?",
    "what did I write the parser in",
    "what did i write about sourdough",
    "When did I last oil the chain of my bicycle?",
    "when was the last time we had snow in april",
    "what was my first job",
    "What is the latest version of Django that works with Python 3.8?",
    "how do I list all posts with a tag in Hugo?",
    "how many posts per page does jekyll show by default",
    "why does my first post in wordpress say hello world",
    "how do i tag a docker image",
    "What tags does html need for a form?",
    "list the ingredients of the rye bread",
    "show me everything I need for a bike tour",
    "what does my post about gluten say on celiac disease?",
    "In which post did I say that the oven has to be at 250 degrees, and why?",
    "how many times do you fold the dough",
    "how many hours of sleep did i get last year",
    "have I ever been to Lisbon?",
    "did I write the backup script in bash or python?",
    "where did I post the letter to the tax office from",
    "what is a blog post anyway",
    "how long should a blog post about recipes be",
    "how did the election in 2020 go",
    "which posts on reddit made me angry",
    "the post office in Lisbon, when is it open",
    "What changed between 2019 and 2020 in my running?",
)

SECOND_POSTS: tuple[Row, ...] = (
    ("wich posts did i write about coffee roasting", "list", "coffee roasting", None, None),
    ("any posts on imposter syndrome?", "list", "imposter syndrome", None, None),
    ("In which posts do I mention Patagonia?", "list", "Patagonia", None, None),
    ("posts mentioning my dog Rufus", "list", "my dog Rufus", None, None),
    ("give me a list of posts about chess openings", "list", "chess openings", None, None),
    ("what are all the posts where I talk about burnout", "list", "burnout", None, None),
    ("is there a post about nginx reverse proxies", "list", "nginx reverse proxies", None, None),
    ("did I already write about the northern lights?", "list", "the northern lights", None, None),
    ("Have I mentioned Terry Pratchett anywhere?", "list", "Terry Pratchett", None, None),
    ("show posts tagged with woodworking", "list", "tag:woodworking", None, None),
    ("posts with tag sqlite", "list", "tag:sqlite", None, None),
    ("everything tagged recipes from 2022", "list", "tag:recipes", "2022-01-01", "2022-12-31"),
    ("how many articles on gardening did I publish in 2024?", "list", "gardening", "2024-01-01", "2024-12-31"),
    ("how many posts have I written this year", "list", "", "2025-01-01", "2025-12-31"),
    ("how many of my posts mention typescript", "list", "typescript", None, None),
    ("how often have i blogged about the gym", "list", "the gym", None, None),
    ("total number of posts", "list", "", None, None),
    ("What did I post last month?", "list", "", "2025-07-01", "2025-07-31"),
    ("what did i blog about in january 2020", "list", "", "2020-01-01", "2020-01-31"),
    ("posts since june 2024", "list", "", "2024-06-01", None),
    ("2021 posts about vaccines", "list", "vaccines", "2021-01-01", "2021-12-31"),
    ("list my posts from the last 3 months", "list", "", "2025-05-15", "2025-08-14"),
    ("stuff I wrote before 2015", "list", "", None, "2014-12-31"),
    ("latest post on home assistant", "latest", "home assistant", None, None),
    ("Which post about Berlin is the most recent?", "latest", "Berlin", None, None),
    ("when did I last mention my sister", "latest", "my sister", None, None),
    ("last time i wrote about ultralight hiking", "latest", "ultralight hiking", None, None),
    ("What's the oldest post on this blog?", "first", "", None, None),
    ("when did i first write about machine learning", "first", "machine learning", None, None),
    ("list all tags", "tags", "", None, None),
)
SECOND_ORDINARY: tuple[str, ...] = (
    "How many grams of coffee does my post about the moka pot recommend?",
    "which posts should i hammer deeper when the gate sags",
    "how many posts did the volleyball net have",
    "what did I write on the birthday card for my mother",
    "What did I say about burnout?",
    "what did i cook in january 2020",
    "what happened last year in patagonia",
    "when did I last see my sister",
    "when did i first climb mont blanc",
    "when was the last time I changed the filter of the espresso machine?",
    "latest news about the gym",
    "what is the most recent stable release of postgres i used",
    "what was my first bike",
    "which was the first book of Terry Pratchett that I liked",
    "who was the last person to comment on my post about Berlin",
    "How do I show the latest posts on the homepage in Eleventy?",
    "how to count posts per tag in jekyll",
    "list of tools for woodworking",
    "show me how to sharpen a chisel",
    "give me the recipe for the rye loaf from last year",
    "do I have any allergies?",
    "is there a difference between a post and a page in wordpress",
    "have i ever regretted leaving twitter",
    "did i publish the npm package under MIT",
    "what tags should a good html5 page have",
    "how are tags stored in sqlite in my notes app",
    "how often do I water the tomatoes",
    "what does the post about nginx say about headers?",
    "summarise my post on chess openings",
    "how did my opinion on typescript change since 2021?",
)

THIRD_POSTS: tuple[Row, ...] = (
    ("posts about burnout i wrote last year", "list", "burnout", "2024-01-01", "2024-12-31"),
    ("what have i written about fermentation since 2020", "list", "fermentation", "2020-01-01", None),
    ("which entries talk about Prague?", "list", "Prague", None, None),
    ("find everything I wrote about the marathon", "list", "the marathon", None, None),
    ("show me my posts about raspberry pi", "list", "raspberry pi", None, None),
    ("which of my articles discuss inflation", "list", "inflation", None, None),
    ("do i mention Hannah Arendt anywhere", "list", "Hannah Arendt", None, None),
    ("did I ever mention my uncle?", "list", "my uncle", None, None),
    ("have i blogged about moving to vienna", "list", "moving to vienna", None, None),
    ("do any of my posts mention vitamin d", "list", "vitamin d", None, None),
    ("blog posts on remote work please", "list", "remote work", None, None),
    ("what posts are tagged lego", "list", "tag:lego", None, None),
    ("list everything with the tag cycling", "list", "tag:cycling", None, None),
    ("all posts labelled css in 2021", "list", "tag:css", "2021-01-01", "2021-12-31"),
    ("How many posts are there about climate change?", "list", "climate change", None, None),
    ("how many posts did i publish last month?", "list", "", "2025-07-01", "2025-07-31"),
    ("how many posts tagged travel do I have", "list", "tag:travel", None, None),
    ("count posts mentioning emacs", "list", "emacs", None, None),
    ("what did I publish in 2018?", "list", "", "2018-01-01", "2018-12-31"),
    ("what was i writing about in autumn, say in october 2019", "list", "", "2019-10-01", "2019-10-31"),
    ("posts from march 2021 to june 2021", "list", "", "2021-03-01", "2021-06-30"),
    ("show me last weeks posts", "list", "", "2025-08-04", "2025-08-10"),
    ("my posts from this year about books", "list", "books", "2025-01-01", "2025-12-31"),
    ("most recent posts", "latest", "", None, None),
    ("what is the last thing I wrote about whisky", "latest", "whisky", None, None),
    ("when did I last post something?", "latest", "", None, None),
    ("whats the newest article mentioning graphql", "latest", "graphql", None, None),
    ("first ever post", "first", "", None, None),
    ("what was my first post about rock climbing?", "first", "rock climbing", None, None),
    ("which tags have I used", "tags", "", None, None),
)
THIRD_ORDINARY: tuple[str, ...] = (
    "what have i learned about fermentation",
    "What did I think of Prague?",
    "which marathon did i run first",
    "show me how to set up a raspberry pi",
    "does the article on inflation cite any sources",
    "what is my uncle's name",
    "how many kilometres did i ride last year",
    "how many people came to the reading in october 2019",
    "how many articles does the constitution have",
    "what do my posts say about vitamin d",
    "is remote work better, according to my posts?",
    "In my post on lego trains, which motor did I use?",
    "which css tags are deprecated",
    "what was the first programming language i learned",
    "what was the last whisky i tasted",
    "when did i start learning german",
    "when did I last update wordpress",
    "what is the newest version of graphql",
    "what's the oldest tree in vienna",
    "the first post in the series explains what exactly?",
    "how do i find posts without a featured image",
    "can you write a post about climate change",
    "write a new post about books",
    "why did I stop posting on twitter?",
    "what do i usually write with, pen or pencil",
    "do i have any regrets about moving",
    "list three arguments against emacs",
    "count the calories in the lentil soup",
    "which entry of the census lists my great-grandfather",
    "my post office box number",
)


def main() -> None:
    rows = [
        measured("first", FIRST_POSTS, FIRST_ORDINARY),
        measured("second", SECOND_POSTS, SECOND_ORDINARY),
        measured("third", THIRD_POSTS, THIRD_ORDINARY),
    ]
    print_table(
        ["part", "about posts", "recognised", "read right", "ordinary", "wrongly taken", "precision", "recall"], rows
    )


def measured(part: str, posts: Sequence[Row], ordinary: Sequence[str]) -> list[object]:
    """Return a row of the table; what went wrong is printed."""
    readings = [(row, understanding(row[0])) for row in posts]
    recognised = [row for row, reading in readings if reading]
    right = [row for row, reading in readings if reading == row]
    wrongly = [reading for question in ordinary if (reading := understanding(question))]
    for row, reading in readings:
        if reading != row:
            print(f"not read right: {row[0]!r}: {reading and reading[1:]}")
    for reading in wrongly:
        print(f"wrongly taken: {reading[0]!r}: {reading[1:]}")
    precision = len(right) / max(1, len(recognised) + len(wrongly))
    return [
        part,
        len(posts),
        len(recognised),
        len(right),
        len(ordinary),
        len(wrongly),
        precision,
        len(right) / len(posts),
    ]


def understanding(question: str) -> Row | None:
    """Return a question as it was understood, None if it goes the usual way."""
    asked = understood(parse(question), TODAY)
    if asked is None:
        return None
    topic = "".join(f"tag:{tag}" for tag in asked.filters.tags) or asked.topic
    return question, asked.wanted, topic, asked.filters.after, asked.filters.before


if __name__ == "__main__":
    main()
