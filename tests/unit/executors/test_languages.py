"""The registry of languages."""

import pytest

from executors.languages import LANGUAGES, Language

EACH = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES.keys())


def test_the_languages_crucible_promises_are_there() -> None:
    assert set(LANGUAGES) == {
        *("python", "javascript", "bash", "c", "cpp", "java", "go", "rust", "ruby", "perl"),
    }


@EACH
def test_a_language_is_found_under_its_own_name(language: Language) -> None:
    assert LANGUAGES[language.name] is language


@EACH
def test_the_source_is_a_plain_file_name_that_the_commands_use(language: Language) -> None:
    assert language.source
    assert "/" not in language.source
    assert f"/box/{language.source}" in (language.compile or language.run)


@EACH
def test_its_greeting_is_what_the_self_test_looks_for(language: Language) -> None:
    assert "hello" in language.hello


@EACH
def test_a_compiler_has_room_to_work(language: Language) -> None:
    assert language.compile is None or language.compile_limits.memory_mb >= 512
