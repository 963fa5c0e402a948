import Foundation
import TestSupport
import Testing

#if arch(x86_64)
  /// The whole program on emulated CPUs: portable code must not contain instructions of a wider build.
  ///
  /// The emulator ends a program at the first instruction that the CPU lacks (signal 4).
  @Suite struct OtherCPUTests {
    private static let training = ["--steps", "2", "--batch-size", "8", "--threads", "1"]

    /// Runs a command on another CPU.
    private func run(
      _ job: Job, on cpu: String, environment: [String: String] = [:]
    ) throws -> ProcessRun.Output {
      var variables = MPIRun.environment(adding: [:])
      variables["WRN_ISA"] = nil
      // A core that OpenBLAS is told to assume would be this CPU's, not the emulated one.
      variables["OPENBLAS_CORETYPE"] = nil
      return try ProcessRun(
        BuiltProducts.installed("qemu-x86_64"),
        ["-cpu", cpu, BuiltProducts.executable("wrn-dist")] + job.arguments,
        environment: variables.merging(environment) { $1 }, workingFolder: job.folder.path,
        limit: .seconds(120)
      ).run()
    }

    @Test func trainingWithAVX2IsBitwiseIdentical() throws {
      let folder = try TemporaryDirectory()
      try Job.training(folder, output: "here", Self.training).succeed()
      let output = try run(.training(folder, output: "there", Self.training), on: "Haswell")
      #expect(output.exitCode == 0, "\(output.standardError)")
      #expect(output.standardOutput.contains("engine native (avx2),"))
      #expect(try folder.digest("there") == folder.digest("here"))
      #expect(folder.metrics("there") == folder.metrics("here"))
    }

    @Test func doctorChecksTheSupportedKernels() throws {
      let output = try run(Job(TemporaryDirectory(), ["doctor"]), on: "Haswell")
      #expect(output.exitCode == 0, "\(output.standardError)")
      let lines = output.lines.filter { $0.hasPrefix("ISA") || $0.hasPrefix("engine") || $0.hasPrefix("kernels") }
      #expect(lines.count == 4)
      #expect(lines[0].contains("avx2, the widest that this CPU supports"))
      #expect(lines[1].contains("native (avx2)"))
      #expect(lines[2].contains("native (avx2): all 465 results correct, largest relative error "))
      #expect(lines[3].contains("blas (Haswell): all 465 results correct"))
    }

    @Test func aSetThatTheCPULacksIsRefused() throws {
      let folder = try TemporaryDirectory()
      let output = try run(
        .training(folder, output: "out"), on: "Haswell", environment: ["WRN_ISA": "avx512"])
      #expect(output.exitCode == 64)
      #expect(
        output.errorLines == [
          "wrn-dist: error: WRN_ISA=avx512 is not supported by this CPU; unset it or set it to avx2."
        ])
      #expect(folder.names("out").isEmpty)
      let doctor = try run(Job(folder, ["doctor"]), on: "Haswell", environment: ["WRN_ISA": "avx512"])
      #expect(doctor.exitCode == 64 && doctor.standardOutput.isEmpty)
      #expect(doctor.errorLines == output.errorLines)
    }

    @Test func withoutAVX2TheEngineIsBLAS() throws {
      let folder = try TemporaryDirectory()
      let output = try run(.training(folder, output: "run", Self.training), on: "Nehalem")
      #expect(output.exitCode == 0, "\(output.standardError)")
      #expect(output.standardOutput.contains("engine blas (Nehalem; native needs AVX2 and FMA),"))
      #expect(folder.metrics("run").count == 2)
      let doctor = try run(Job(folder, ["doctor"]), on: "Nehalem")
      #expect(doctor.exitCode == 0)
      #expect(
        doctor.standardOutput.contains("none: kernels are built for avx512, avx2, and this CPU supports none of them"))
      #expect(doctor.standardOutput.contains("blas (Nehalem): all 465 results correct"))
      #expect(!doctor.standardOutput.contains("native (avx2): all"))
      // The L2 of native kernels is of no concern.
      #expect(!doctor.standardOutput.contains("of L2"))
    }
  }
#endif
