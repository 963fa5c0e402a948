import TestSupport
import Testing

/// After warm-up a training step allocates nothing, in any thread: images, passes, reduction, update, log.
@Suite struct AllocationTests {
  /// Three ranks are on one host; six are on three, and round their gradients.
  @Test(arguments: [1, 3, 6])
  func aStepAllocatesNothing(ranks: Int) throws {
    let output = try ProcessRun(
      BuiltProducts.executable("rank-worker"), ["training-allocations", "\(ranks)"],
      environment: MPIRun.environment(adding: [:])
    ).run()
    #expect(output.standardOutput == "control 1, fifty steps 0\n", "\(output.standardError)")
  }
}
