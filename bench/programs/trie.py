from typing import Dict, Iterator, List


class Trie:
    def __init__(self) -> None:
        self.children: Dict[str, "Trie"] = {}
        self.is_word = False

    def add(self, word: str) -> None:
        node = self
        for letter in word:
            node = node.children.setdefault(letter, Trie())
        node.is_word = True

    def starting_with(self, prefix: str) -> List[str]:
        node = self
        for letter in prefix:
            if letter not in node.children:
                return []
            node = node.children[letter]
        return [prefix + rest for rest in node.words()]

    def words(self) -> Iterator[str]:
        if self.is_word:
            yield ""
        for letter, child in sorted(self.children.items()):
            yield from (letter + rest for rest in child.words())


trie = Trie()
for word in ("car", "card", "care", "cat", "dog"):
    trie.add(word)
assert trie.starting_with("car") == ["car", "card", "care"]
assert trie.starting_with("x") == []
assert list(trie.words()) == ["car", "card", "care", "cat", "dog"]
