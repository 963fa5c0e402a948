import Foundation
import TestSupport
import Testing

/// The comparison of `Benchmarks/history`, which must report a figure that became worse.
@Suite(
  .enabled(
    if: (try? BuiltProducts.installed("python3")) != nil, "python3 is not installed; run launch/setup --test"))
struct HistoryTests {
  /// Evaluates an expression with the functions of the script.
  private func evaluate(_ expression: String) throws -> String {
    let directory = ScriptFixture.repository.path + "/Benchmarks"
    let program = """
      import importlib.util, sys
      from importlib.machinery import SourceFileLoader
      sys.dont_write_bytecode = True
      sys.path.insert(0, "\(directory)")
      loader = SourceFileLoader("history", "\(directory)/history")
      history = importlib.util.module_from_spec(importlib.util.spec_from_loader("history", loader))
      loader.exec_module(history)
      print(\(expression))
      """
    let output = try ProcessRun(BuiltProducts.installed("python3"), ["-c", program]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    return output.standardOutput
  }

  @Test(arguments: [
    (#""two_threads": 1.9"#, #""two_threads": 1.81"#, 0), (#""two_threads": 1.9"#, #""two_threads": 1.80"#, 1),
    (#""multiply_add_share": 0.5"#, #""multiply_add_share": 0.6"#, 0),
    (#""multiply_add_share": 0.5"#, #""multiply_add_share": 0.4"#, 1),
    (#""pytorch_ratio": 3.0"#, #""two_threads": 1.0"#, 0),
    (#""instructions": {"a": 1000, "b": 5}"#, #""instructions": {"a": 1020, "c": 99}"#, 0),
    (#""instructions": {"a": 1000, "b": 5}"#, #""instructions": {"a": 1021, "b": 6}"#, 2),
  ])
  func whatIsWorseIsReported(old: String, new: String, count: Int) throws {
    let line = #"{"date": "2026-11-28", "k": 1, "#
    #expect(try evaluate("len(history.lower(\(line)\(old)}, \(line)\(new)}))") == "\(count)\n")
  }

  @Test(arguments: [
    ("15microkernel6x16yyAA9GEMMShapeV_SPySfGAESpySfGtF", "microkernel6x16"),
    ("8WinogradO14transformInput__4intoyAA9TileBlockV_AA11PaddedImageVSpySfGtFZTf4nnnd_n", "Winograd.transformInput"),
    ("13tiledBackward2by__5input6packed", "tiledBackward"),
    ("17multiplyPositions33_7DEB6A256A67339330FE92EF544F9564LL", "multiplyPositions"),
  ])
  func aKernelHasTheNameOfItsFunction(mangled: String, name: String) throws {
    #expect(try evaluate("history.name('\(mangled)')") == name + "\n")
  }
}
