import Foundation
import TestSupport
import Testing

/// `launch/chaos`, in a form of a minute: faults in real runs, whose results are checked.
@Suite(.serialized) struct ChaosTests {
  private static let obstacle: String? =
    (try? BuiltProducts.installed("python3")) == nil ? "python3 is not installed; run launch/setup --test" : nil

  private func chaos(_ arguments: [String]) throws -> ProcessRun.Output {
    try ProcessRun(
      ScriptFixture.repository.path + "/launch/chaos", arguments, environment: MPIRun.environment(adding: [:]),
      limit: .seconds(600)
    ).run()
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func runsSurviveFaults() throws {
    let output = try chaos(["--runs", "3", "--flips", "0", "--ends", "0", "--seed", "1", "--hosts", "no"])
    #expect(output.exitCode == 0, "\(output.standardOutput)\(output.standardError)")
    #expect(output.standardOutput.contains("3 of 3 runs ended with the undisturbed result"))
    #expect(output.standardOutput.contains("| fault | injected | came after the end |"))
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func flippedBitsAreFound() throws {
    let output = try chaos(["--runs", "0", "--flips", "8", "--ends", "0", "--seed", "2"])
    #expect(output.exitCode == 0, "\(output.standardOutput)\(output.standardError)")
    #expect(output.standardOutput.contains("8 of 8 flipped bits were found"))
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func theTimeToTheEndIsReported() throws {
    let output = try chaos(["--runs", "0", "--flips", "0", "--ends", "1", "--hosts", "no"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    for fault in ["dead rank", "stopped rank", "dead mpirun"] {
      #expect(output.standardOutput.contains("| \(fault) | "), "\(output.standardOutput)")
    }
  }

  @Test(
    .enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")),
    arguments: [
      (["--runs", "-1"], "a number of runs is negative"), (["--jobs", "0"], "--jobs is not positive"),
      (["--frobnicate"], "unrecognized arguments"),
      (["--hosts", "4"], "--hosts"), (["--runs", "many"], "--runs"),
    ])
  func mistakesAreRefused(arguments: [String], words: String) throws {
    let output = try chaos(arguments)
    #expect(output.exitCode == 64 && output.standardError.contains(words), "\(output.standardError)")
    #expect(output.standardError.split(separator: "\n").count == 1)
  }
}
