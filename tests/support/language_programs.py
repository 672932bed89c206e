r"""Programs that behave alike in every language.

``ECHO`` copies standard input to standard output byte for byte and exits with code 7. ``UNCAUGHT`` ends by
an error that nobody handles. ``BROKEN`` is refused by the compiler.
"""

ECHO = {
    "python": """
import shutil, sys
shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
sys.exit(7)
""",
    "javascript": """
const fs = require('fs')
fs.writeSync(1, fs.readFileSync(0))
process.exitCode = 7
""",
    "bash": "cat; exit 7",
    "c": """
#include <stdio.h>
int main(void) {
    for (int c; (c = getchar()) != EOF;) putchar(c);
    return 7;
}
""",
    "cpp": """
#include <iostream>
int main() {
    std::cout << std::cin.rdbuf();
    return 7;
}
""",
    "java": """
public class Main {
    public static void main(String[] arguments) throws Exception {
        System.in.transferTo(System.out);
        System.exit(7);
    }
}
""",
    "go": """
package main

import ("io"; "os")

func main() {
    io.Copy(os.Stdout, os.Stdin)
    os.Exit(7)
}
""",
    "rust": """
use std::io;
fn main() {
    io::copy(&mut io::stdin(), &mut io::stdout()).unwrap();
    std::process::exit(7);
}
""",
    "ruby": """
IO.copy_stream($stdin, $stdout)
exit 7
""",
    "perl": """
binmode STDIN; binmode STDOUT;
print while <STDIN>;
exit 7;
""",
}

UNCAUGHT = {
    "python": "raise RuntimeError('nobody handles this')",
    "javascript": "throw new Error('nobody handles this')",
    "bash": "set -e; echo 'nobody handles this' >&2; false",
    "c": "#include <stdio.h>\n#include <stdlib.h>\n"
    'int main(void) { fputs("nobody handles this", stderr); abort(); }',
    "cpp": '#include <stdexcept>\nint main() { throw std::runtime_error("nobody handles this"); }',
    "java": "public class Main { public static void main(String[] a) {"
    ' throw new RuntimeException("nobody handles this"); } }',
    "go": 'package main\nfunc main() { panic("nobody handles this") }',
    "rust": 'fn main() { panic!("nobody handles this") }',
    "ruby": "raise 'nobody handles this'",
    "perl": "die 'nobody handles this'",
}

BROKEN = {
    "c": "int main(void) { return undeclared; }",
    "cpp": "int main() { return undeclared; }",
    "java": "public class Main { int x = undeclared; }",
    "go": "package main\nfunc main() { undeclared() }",
    "rust": "fn main() { undeclared() }",
}

THREADS = {
    "python": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda n: n * n, range(100))))
""",
    "cpp": """
#include <atomic>
#include <iostream>
#include <thread>
#include <vector>
int main() {
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int n = 0; n < 100; n++) threads.emplace_back([&sum, n] { sum += n * n; });
    for (auto &each : threads) each.join();
    std::cout << sum << std::endl;
}
""",
    "java": """
import java.util.stream.IntStream;
public class Main {
    public static void main(String[] arguments) {
        System.out.println(IntStream.range(0, 100).parallel().map(n -> n * n).sum());
    }
}
""",
    "go": """
package main

import "fmt"

func main() {
    squares, sum := make(chan int), 0
    for n := 0; n < 100; n++ {
        go func(n int) { squares <- n * n }(n)
    }
    for n := 0; n < 100; n++ {
        sum += <-squares
    }
    fmt.Println(sum)
}
""",
    "rust": """
use std::thread;
fn main() {
    let threads: Vec<_> = (0..100).map(|n| thread::spawn(move || n * n)).collect();
    println!("{}", threads.into_iter().map(|each| each.join().unwrap()).sum::<i32>());
}
""",
    "ruby": "puts (0...100).map { |n| Thread.new { n * n } }.sum(&:value)",
    "perl": """
use threads;
my $sum = 0;
$sum += $_->join for map { my $n = $_; threads->create(sub { $n * $n }) } 0 .. 99;
print "$sum\\n";
""",
}
"""Each prints the sum of the squares below 100, worked out by threads."""
