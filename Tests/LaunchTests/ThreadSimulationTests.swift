import Foundation
import TestSupport
import Testing

/// The model of `Benchmarks/simulate_threads`, against examples that were computed by hand.
@Suite(
  .enabled(
    if: (try? BuiltProducts.installed("python3")) != nil, "python3 is not installed; run launch/setup --test"))
struct ThreadSimulationTests {
  /// Evaluates an expression, after statements, with the names of the model and of the measurements.
  private func evaluate(_ expression: String, after statements: String = "") throws -> String {
    let program = """
      import sys
      sys.dont_write_bytecode = True
      sys.path.insert(0, "\(ScriptFixture.repository.path)/Benchmarks")
      from step_loops import *
      from thread_model import *
      machine = Machine(bandwidth=4e9, dispatch=0.1, claim=0.01, jitter=0, latency=0.5)
      def step(count, byte_count=0, kind=MICROBATCHES, serial=0, **others):
          return Step([Loop(kind, count, 1.0, byte_count)], serial, **others)
      \(statements)
      print(\(expression))
      """
    let output = try ProcessRun(BuiltProducts.installed("python3"), ["-c", program]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    return output.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test(arguments: [
    // Three items of 1 s on two threads.
    ("schedule([1.0, 1.0, 1.0], 2)", "2.0"),
    // The second thread claims all short items while the first computes the long one.
    ("schedule([3.0, 1.0, 1.0, 1.0], 2)", "3.0"), ("schedule([1.0, 1.0, 1.0, 3.0], 2)", "4.0"),
    ("schedule([1.0, 2.0], 4)", "2.0"),
  ])
  func itemsAreClaimedInOrder(expression: String, seconds: String) throws {
    #expect(try evaluate(expression) == seconds)
  }

  @Test(
    arguments: [
      // One thread has no barriers: 3 s, and 0.5 s of serial work.
      ("step(3, serial=0.5), machine, 1", 3.5),
      // Two threads: 2 s, the dispatch, the serial work.
      ("step(3, serial=0.5), machine, 2", 2.6),
      // Four threads: 1 s, and 0.16 s because two threads more claim, fail to claim and finish.
      ("step(3, serial=0.5), machine, 4", 1.66),
      // A loop with one item is not dispatched.
      ("step(1), machine, 4", 1.0),
      // 4 GB/s suffice for one thread, which reads 3 GB; two at the same time get 2 GB/s each.
      ("step(2, 3e9), machine, 1", 2.0), ("step(2, 3e9), machine, 2", 1.6),
      // One item at a time has the whole bandwidth, whatever the number of threads.
      ("step(1, 3e9), machine, 2", 1.0),
      // Threads that compute at the same time slow each other.
      ("step(3), Machine(4e9, 0.1, 0.01, 0, contention=1.5), 2", 3.1),
      ("step(3), Machine(4e9, 0.1, 0.01, 0, contention=1.5), 1", 3.0),
      // Two ranks with one thread each share it as well. Two reductions take 2 s, and 1 GB is copied in 2 s.
      ("step(1, 3e9, reductions=2, gradient_bytes=10**9), machine, 1, 2", 5.5),
    ] as [(String, Double)])
  func aStepTakesItsLoopsAndTheirBarriers(arguments: String, seconds: Double) throws {
    let found = try #require(Double(evaluate("simulate(\(arguments)).seconds")))
    #expect(abs(found - seconds) < 1e-9, "\(found)")
  }

  @Test(arguments: [
    ("step(9), machine, 8", "microbatches"), ("step(9, kind=PARAMETERS), machine, 8", "parameter loops"),
    ("step(8, serial=9), machine, 8", "serial"), ("step(8, 3e9), machine, 8", "bandwidth"),
    ("step(8), machine, 8", "barriers"), ("step(1, reductions=9), machine, 1, 2", "messages"),
    ("step(80), Machine(4e9, 0.0, 0.0, 0.2), 8", "balance"),
  ])
  func theLargestLossIsTheLimit(arguments: String, limit: String) throws {
    #expect(try evaluate("simulate(\(arguments)).limit") == limit)
  }

  @Test func lossesAndWorkAreTheStep() throws {
    let found = try evaluate(
      """
      [round(result.seconds - sum(result.losses.values()), 9) for result in [simulate(
      step(9, 3e9, serial=2), Machine(4e9, 0.1, 0.01, 0.2), 4, reference=step(8, serial=1))]]
      """)
    // Eight items of 1 s and 1 s of serial work on four cores.
    #expect(found == "[2.25]")
  }

  @Test func aTraceIsDividedIntoLoopsAndTheRest() throws {
    // Microseconds of the spans of one step; the first three steps are warm-up.
    let spans = [
      ("forward stem", 10, 100), ("backward head", 120, 30), ("add microbatches", 150, 5), ("backward stem", 160, 200),
      ("add microbatches", 370, 20), ("update", 400, 7), ("step", 0, 450),
    ].map { "('\($0)', \($1), \($2))" }.joined(separator: ", ")
    let found = try evaluate(
      """
      loop_times([{'ph': 'X', 'tid': 0, 'name': name, 'ts': 1e3 * s + start, 'dur': seconds * (9 if s < 4 else 1),
      'args': {'step': s}} for s in range(1, 8) for name, start, seconds in [\(spans)]])
      """)
    #expect(
      found.contains("'forward stem': 0.0001") && found.contains("'sums': {'head': 5e-06, 'stem': 2e-05}")
        && found.contains("'updates': [7e-06]"), "\(found)")
    // 450 − 100 − 30 − 5 − 200 − 20 − 7 µs.
    let other = try #require(found.firstMatch(of: /'other': ([\d.e-]+)/).flatMap { Double($0.1) })
    #expect(abs(other - 88e-6) < 1e-12 && found.contains("'spread': 0.0"), "\(found)")
  }

  /// One layer, measured with 8 microbatches of 8 images: two items on one thread, four as on four threads.
  private static let measured = """
    def report(work_items, seconds):
        layer = {'name': 'a.conv1', 'shape': 's', 'parameters': 20000, 'packed_weights': 100, 'packing_tasks': 2,
                 'work_items': work_items, 'preferred_images': 32}
        one = {'seconds': seconds, 'packing': 0.02, 'bytes': 8e6}
        return {'layers': [layer], 'passes': {('s', 'forward'): one, ('s', 'backward'): one}}
    model = MeasuredModel('1', 1, 1)
    model.phase_reports = {(8, 1): report(2, 1.0), (8, 4): report(4, 1.1)}
    loops = {'forward a.conv1': 0.8, 'backward a.conv1': 1.6, 'forward head': 0.08, 'backward head': 0.08}
    model.traces = {8: {'loops': loops, 'sums': {'a.conv1': 0.7, 'head': 0.07}, 'updates': [0.1], 'other': 0.05}}
    def loops_of(step):
        return [(loop.count, round(loop.seconds, 6), round(loop.bytes)) for loop in step.loops]
    """

  @Test func loopsHaveTheItemsOfTheLayout() throws {
    let found = try evaluate(
      "loops_of(model.step(64, 8, 4)), round(model.step(64, 8, 4).serial, 6)", after: Self.measured)
    let items = [
      // Two microbatches per item, which are 1.1 times as slow as in items of four; the weight is packed in two tasks.
      "(4, 0.22, 2000000), (2, 0.01, 40000)",
      // Each microbatch writes 20,000 numbers of its gradient.
      "(4, 0.44, 2160000), (2, 0.01, 40000)",
      // Ten items of sums, of 2,048 numbers, read the sums of four pairs and write one; the head's sums have one item.
      "(10, 0.07, 40000), (1, 0.07, 0)",
      // The head, and the update.
      "(8, 0.01, 0), (8, 0.01, 0), (10, 0.01, 56000)",
    ]
    // The rest of the step without the packing.
    #expect(found == "[" + items.joined(separator: ", ") + "] 0.01")
  }

  @Test func aRankHasItsMicrobatchesAndItsShard() throws {
    // Two ranks with two threads: items of two of the four microbatches, one of three additions of pairs, three of seven of
    // the head, half of the update.
    let found = try evaluate("loops_of(model.step(64, 8, 2, 2))", after: Self.measured)
    #expect(
      found == "[(2, 0.22, 2000000), (2, 0.01, 40000), (2, 0.44, 2160000), (2, 0.01, 40000), (10, 0.023333, 24000), "
        + "(1, 0.03, 0), (4, 0.01, 0), (4, 0.01, 0), (5, 0.01, 56000)]")
  }
}
