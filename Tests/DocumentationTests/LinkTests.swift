import Foundation
import Testing

/// Links and paths in the documentation refer to files that exist.
@Suite struct LinkTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The Markdown files, as paths below the root.
  private static let documents: [String] = {
    let folders = [
      "", "docs", "docs/results", "hostfiles", "Examples/pytorch", "Examples/onnx", "Sources/COpenMPI", "Benchmarks",
    ]
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
  func linksLeadToFilesAndHeadings(document: String) throws {
    let file = Self.root.appendingPathComponent(document)
    let text = try String(contentsOf: file, encoding: .utf8)
    for match in text.matches(of: /\]\(([^)#\s]*)(?:#([^)]*))?\)/) {
      let target = String(match.output.1)
      if target.contains("://") { continue }
      let linked = target.isEmpty ? file : file.deletingLastPathComponent().appendingPathComponent(target)
      #expect(FileManager.default.fileExists(atPath: linked.path), "\(document) links to \(target)")
      guard let anchor = match.output.2, linked.pathExtension == "md" else { continue }
      let headings = Self.anchors(try String(contentsOf: linked, encoding: .utf8))
      #expect(headings.contains(String(anchor)), "\(document) links to \(target)#\(anchor)")
    }
  }

  /// Files and directories of the repository that a document names without a link, such as `Sources/Models`.
  @Test(arguments: documents.filter { $0 != "CHANGELOG.md" })
  func namedPathsExist(document: String) throws {
    let text = try String(contentsOf: Self.root.appendingPathComponent(document), encoding: .utf8)
    for match in text.matches(of: /`((?:Sources|Tests|launch|hostfiles|Benchmarks|Examples|docs)\/[\w+.\/-]+)`/) {
      let path = Self.root.appendingPathComponent(String(match.output.1)).path
      #expect(FileManager.default.fileExists(atPath: path), "\(document) names \(match.output.1)")
    }
  }

  /// Returns the anchors of a document's headings, as GitHub forms them.
  private static func anchors(_ text: String) -> Set<String> {
    Set(
      text.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
        let heading = line.drop { $0 == "#" }.drop { $0 == " " }.lowercased()
        return heading.filter { $0.isLetter || $0.isNumber || " -_".contains($0) }.replacing(" ", with: "-")
      })
  }

  /// The reading list links at least one source file per question, so that a moved file is noticed.
  @Test func oneTrainingStepLinksToSources() throws {
    let text = try String(
      contentsOf: Self.root.appendingPathComponent("docs/one-training-step.md"), encoding: .utf8)
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.contains("?") }
    #expect(rows.count >= 12)
    for row in rows { #expect(row.contains("](../Sources/"), "\(row)") }
  }
}
