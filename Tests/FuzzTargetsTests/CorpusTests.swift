import Foundation
import FuzzTargets
import Testing

/// The inputs of `launch/fuzz` that are in the repository: no parser traps on one, with or without libFuzzer.
@Suite struct CorpusTests {
  private static let corpus = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("FuzzTargets/Corpus")

  @Test(arguments: FuzzTarget.allCases)
  func everyInputIsReadOrRefused(target: FuzzTarget) throws {
    let directory = Self.corpus.appendingPathComponent(target.rawValue)
    let inputs = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
    #expect(inputs.count >= 3)
    for input in inputs { try Data(contentsOf: input).withUnsafeBytes { target.run($0) } }
    target.run(UnsafeRawBufferPointer(start: nil, count: 0))
  }

  /// Ten prefixes of every input, as after a write that was interrupted.
  @Test(arguments: FuzzTarget.allCases)
  func truncatedInputsAreReadOrRefused(target: FuzzTarget) throws {
    let directory = Self.corpus.appendingPathComponent(target.rawValue)
    for input in try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil) {
      let data = try Data(contentsOf: input)
      for tenth in 0..<10 { data.prefix(data.count * tenth / 10).withUnsafeBytes { target.run($0) } }
    }
  }

  /// A directory of a target that was renamed would be skipped.
  @Test func everyDirectoryIsThatOfATarget() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.corpus.path)
    #expect(Set(names) == Set(FuzzTarget.allCases.map(\.rawValue)))
  }

  @Test func theCorpusIsSmall() throws {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: Self.corpus.path)
    let sizes = try paths.map {
      let attributes = try FileManager.default.attributesOfItem(atPath: Self.corpus.appendingPathComponent($0).path)
      return (attributes[.size] as? Int) ?? 0
    }
    #expect(sizes.reduce(0, +) < 200_000)
  }
}
