import Foundation
import Testing

/// Every relative link in the documentation leads to a file that exists.
@Suite struct LinkTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The Markdown files that people read, as paths below the root.
  private static let documents: [String] = {
    let folders = ["", "docs", "docs/results", "hostfiles", "Examples/pytorch", "Sources/COpenMPI", "Benchmarks"]
    return folders.flatMap { folder in
      let path = root.appendingPathComponent(folder).path
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      return names.filter { $0.hasSuffix(".md") }.sorted().map { folder.isEmpty ? $0 : "\(folder)/\($0)" }
    }
  }()

  @Test func theDocumentsAreFound() {
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/one-training-step.md", "hostfiles/README.md"] {
      #expect(Self.documents.contains(name))
    }
  }

  @Test(arguments: documents)
  func linksLeadSomewhere(document: String) throws {
    let file = Self.root.appendingPathComponent(document)
    let text = try String(contentsOf: file, encoding: .utf8)
    for match in text.matches(of: /\]\(([^)#\s]+)(?:#[^)]*)?\)/) {
      let target = String(match.output.1)
      if target.contains("://") { continue }
      let path = file.deletingLastPathComponent().appendingPathComponent(target).path
      #expect(FileManager.default.fileExists(atPath: path), "\(document) links to \(target)")
    }
  }

  /// The reading list names at least one file a question, so a moved file cannot go unnoticed.
  @Test func oneTrainingStepLinksToSources() throws {
    let text = try String(
      contentsOf: Self.root.appendingPathComponent("docs/one-training-step.md"), encoding: .utf8)
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.contains("?") }
    #expect(rows.count >= 12)
    for row in rows { #expect(row.contains("](../Sources/"), "\(row)") }
  }
}
