import TestSupport
import Testing

/// After warm-up no thread allocates memory in a training step: loading, passes, reduction, update, metrics.
@Suite struct AllocationTests {
  /// Three ranks on one host; six ranks on three emulated hosts, with `--wire bf16`.
  @Test(arguments: [1, 3, 6])
  func aStepAllocatesNothing(ranks: Int) throws {
    let output = try ProcessRun(
      BuiltProducts.executable("rank-worker"), ["training-allocations", "\(ranks)"],
      environment: MPIRun.environment(adding: [:])
    ).run()
    #expect(output.standardOutput == "control 1, fifty steps 0\n", "\(output.standardError)")
  }

  /// Augmentation, normalization and lower resolutions, on the loader's thread.
  @Test func preparingImagesAllocatesNothing() throws {
    let output = try ProcessRun(BuiltProducts.executable("rank-worker"), ["loading-allocations"]).run()
    #expect(output.standardOutput == "resize 0\ncrop 0\n", "\(output.standardError)")
  }
}
