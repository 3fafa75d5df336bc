"""Names that Kafka would refuse are refused before it is asked, and a pattern means the same to clients and brokers."""

import pytest

from consumer.kafka_names import InputTopics, check_servers, check_topic


@pytest.mark.parametrize("name", ["postings.raw", "a", "A_b-9.", "..a", "x" * 249])
def test_a_legal_name_of_a_topic_is_taken(name: str) -> None:
    assert check_topic(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 250, "a b", "a/b", "stellen-für-alle", "a:b", "a\n", "a#"])
def test_an_impossible_name_of_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        check_topic(name)


@pytest.mark.parametrize(
    "servers",
    [
        "localhost:9092",
        "a:1,b:2",
        "broker",
        "[::1]:9092",
        "SSL://broker:9093, PLAINTEXT://10.0.0.1:9092",
        "my_broker-1.lan:65535",
    ],
)
def test_brokers_are_taken_as_librdkafka_takes_them(servers: str) -> None:
    assert check_servers(servers) == servers


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("http://broker:9092", "is a URL; a Kafka broker is host:port, without http://"),
        ("a:1,https://b", "is a URL"),
        ("kafka://broker:9092", "is a URL"),
        ("broker:9092/path", "one is host:port"),
        ("broker:0", "no port between"),
        ("broker:70000", "no port between"),
        ("broker:port", "one is host:port"),
        ("a:1,,b:2", "one is host:port"),
        ("", "one is host:port"),
        ("two words:9092", "one is host:port"),
    ],
)
def test_what_can_be_no_broker_is_refused(servers: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_servers(servers)


def test_topics_are_named_with_commas() -> None:
    topics = InputTopics.parse("us.raw, eu.raw")
    assert (topics.subscription, str(topics)) == (["us.raw", "eu.raw"], "us.raw,eu.raw")
    assert topics.matches("eu.raw")
    assert not topics.matches("eu.raw2")


@pytest.mark.parametrize("text", ["^postings[.].+", "^postings[.].+$"])
def test_a_pattern_is_about_whole_names(text: str) -> None:
    topics = InputTopics.parse(text)
    assert topics.subscription == ["^(postings[.].+)$"]
    assert topics.matches("postings.us")
    assert not topics.matches("old.postings.us")
    assert not InputTopics.parse("^us|eu").matches("europe")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a", "a is named twice"),
        ("a,,b", "no name of a topic"),
        ("a,^b", "a pattern stands alone"),
        ("^(a", "no regular expression"),
        (r"^postings\.\d+", "not read alike"),
        ("^(?!old).*", "not read alike"),
        ("^a.*?", "not read alike"),
        ("^.*", "matches Kafka's own topic __consumer_offsets"),
        ("^$", "matches no topic"),
    ],
)
def test_what_names_no_topics_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InputTopics.parse(text)
