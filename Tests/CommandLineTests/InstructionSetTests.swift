import Models
import TestSupport
import Testing

#if arch(x86_64)
  /// The kernel builds in whole runs: bitwise identical results, also mixed in one job, and refusals.
  @Suite struct InstructionSetTests {
    private static let hasBoth = InstructionSet.allCases.allSatisfy(\.isSupported)
    private static let reason: Comment = "this CPU cannot run both AVX2 and AVX-512"

    @Test(
      .enabled(if: hasBoth, reason),
      arguments: [["--steps", "4"], ["--steps", "3", "--widen-factor", "2", "--batch-size", "32"]])
    func bothAreBitwiseIdentical(flags: [String]) throws {
      let folder = try TemporaryDirectory()
      for name in ["avx2", "avx512"] {
        var job = Job.training(folder, output: name, flags)
        job.environment = ["WRN_ISA": name]
        #expect(try job.succeed().standardOutput.contains("engine native (\(name)),"))
      }
      #expect(try folder.digest("avx2") == folder.digest("avx512"))
      #expect(folder.metrics("avx2") == folder.metrics("avx512"))
    }

    @Test(.enabled(if: hasBoth, reason))
    func ranksMayDiffer() throws {
      let folder = try TemporaryDirectory()
      try Job.training(folder, output: "alone", ["--steps", "4"]).succeed()
      var job = Job.training(folder, ranks: 1, output: "mixed", ["--steps", "4"])
      job.options = ["-x", "WRN_ISA=avx2"]
      job.arguments +=
        [":", "-np", "1", "-x", "WRN_ISA=avx512", try BuiltProducts.executable("wrn-dist")] + job.arguments
      let output = try job.succeed()
      #expect(output.standardOutput.contains("2 rank(s) ×"))
      #expect(output.standardOutput.contains("engine native (avx2; avx512 on 1 of 2 ranks),"))
      #expect(try folder.digest("mixed") == folder.digest("alone"))
      #expect(folder.metrics("mixed") == folder.metrics("alone"))
    }

    @Test(arguments: [nil, 3])
    func anUnknownSetIsRefused(ranks: Int?) throws {
      for command in [["train", "--data", "synthetic", "--output-dir", "out"], ["benchmark", "step"], ["doctor"]] {
        let folder = try TemporaryDirectory()
        var job = Job(folder, ranks: ranks, command)
        job.environment = ["WRN_ISA": "avx1024"]
        let output = try job.run()
        #expect(output.exitCode == 64)
        #expect(output.errorLines.count == 1, "\(output.standardError)")
        #expect(
          output.errorLines.first?.contains(
            "WRN_ISA=avx1024 is not an instruction set that kernels are built for; unset it")
            == true)
        #expect(folder.names("out").isEmpty)
      }
    }
  }
#endif
