import Foundation
import Images
import TestSupport
import Testing

/// Damaged, huge and unexpected files: one sentence each, and never a crash.
@Suite struct HostileImageTests {
  private static let png = {
    var numbers = TestNumbers(11)
    return PNGFixture(
      width: 20, height: 15, chunks: [("gAMA", PNGFixture.bigEndian(100_000))],
      rows: (0..<15).map { _ in numbers.bytes(60) }
    ).bytes
  }()
  private static let jpeg = {
    var numbers = TestNumbers(12)
    return JPEGFixture.bytes(numbers.bytes(3 * 20 * 15), width: 20, height: 15, channels: 3, quality: 90)
  }()

  /// Expects a sentence that begins with the file's name, and returns it.
  @discardableResult
  private func refuse(_ bytes: [UInt8], _ words: String = "", sourceLocation: SourceLocation = #_sourceLocation)
    -> String
  {
    do {
      _ = try decode(bytes, name: "some.png")
      Issue.record("the file was decoded", sourceLocation: sourceLocation)
      return ""
    } catch {
      let text = "\(error)"
      #expect(error is ImageError && text.hasPrefix("some.png ") && text.hasSuffix("."), sourceLocation: sourceLocation)
      #expect(
        !text.contains("\n") && (words.isEmpty || text.contains(words)), "\(text)", sourceLocation: sourceLocation)
      return text
    }
  }

  @Test func otherFiles() {
    refuse([], "is empty; give a PNG or JPEG file")
    refuse(Array("GIF89a".utf8), "is neither a PNG nor a JPEG file; convert it")
    refuse([0x89, 0x50], "is neither a PNG nor a JPEG file")
    refuse(Array(Self.png[..<8]), "is damaged or unsupported (")
    refuse([0xFF, 0xD8, 0xFF], "is damaged or unsupported (")
  }

  /// The declared size is refused before memory is allocated; 10 gigapixels would need 30 GB.
  @Test func decompressionBombs() throws {
    for (width, height) in [(100_000, 100_000), (1, 0x7FFF_FFFF), (8193, 8192), (900_000, 900_000)] {
      let bomb = PNGFixture(width: width, height: height, rows: [[0]])
      let text = refuse(bomb.bytes)
      #expect(text.contains("more than the limit of 67108864") || text.contains("damaged"), "\(text)")
    }
    refuse(PNGFixture(width: 8193, height: 8192, rows: [[0]]).bytes, "declares 8193×8192 pixels, more than the limit")
    // The largest accepted size, of which the data are missing.
    refuse(PNGFixture(width: 8192, height: 8192, rows: [[0]]).bytes, "damaged")
    var jpeg = Self.jpeg
    // The frame header: marker, length, precision, height, width.
    let frame = try #require(jpeg.indices.first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xFF, 0x00, 0xFF, 0x00])
    refuse(jpeg, "declares 65280×65280 pixels, more than the limit of 67108864; reduce its size first")
    refuse(PNGFixture(width: 0, height: 5, rows: []).bytes)
  }

  /// A file of which only checksums and end markers are missing may be decoded, but never to other pixels.
  @Test func everyTruncationIsRefused() throws {
    for (whole, firstBytes) in [(Self.png, 8), (Self.jpeg, 3)] {
      let image = try decode(whole)
      for count in firstBytes..<whole.count {
        if count < whole.count - 24 {
          refuse(Array(whole[..<count]), "damaged")
        } else if let result = try? decode(Array(whole[..<count])) {
          #expect(result == image)
        }
      }
    }
  }

  @Test(arguments: ["png", "jpeg"])
  func changedBytesAreDecodedOrRefused(format: String) {
    let original = format == "png" ? Self.png : Self.jpeg
    var numbers = TestNumbers(13)
    var refusedCount = 0
    for round in 0..<3000 {
      var bytes = original
      // Single bits at every position first, then several bytes.
      for change in 0..<1 + round / 1500 * 3 {
        let index = change == 0 ? round % bytes.count : Int.random(in: 0..<bytes.count, using: &numbers)
        bytes[index] ^= round < 1500 ? 1 << UInt8(round / bytes.count % 8) : UInt8.random(in: 1...255, using: &numbers)
      }
      do {
        let result = try decode(bytes, name: "some.png")
        #expect(result.image.pixels.count == 3 * result.image.height * result.image.width)
      } catch {
        refusedCount += 1
        #expect(error is ImageError && !"\(error)".contains("\n"))
      }
    }
    #expect(refusedCount > 100)
  }

  @Test func namesInSentencesAreTheCallers() {
    do {
      _ = try decode([1], name: "a <b>.png")
      Issue.record("the file was decoded")
    } catch { #expect("\(error)".hasPrefix("a <b>.png is neither")) }
  }

  @Test func filesOfDirectoriesAreInOrder() throws {
    let folder = try TemporaryDirectory()
    for name in ["b.png", "a.JPG", "sub/c.jpeg", "sub/.hidden.png", "notes.txt", ".git/x.png", "z/y/x.PNG"] {
      try folder.write("images/\(name)", "x")
    }
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/images/loop", withDestinationPath: "\(folder.path)/images")
    try folder.write("empty/notes.txt", "x")
    let expanded = ImageFiles.expand(["\(folder.path)/images/", "gone.png", "-", "\(folder.path)/empty"])
    let names = expanded.map { result in
      switch result {
      case .success(let path): path.replacing(folder.path, with: "")
      case .failure(let error): error.description.replacing(folder.path, with: "")
      }
    }
    #expect(
      names == [
        "/images/a.JPG", "/images/b.png", "/images/sub/c.jpeg", "/images/z/y/x.PNG", "gone.png", "-",
        "/empty has no .png, .jpg or .jpeg files; give files or another directory.",
      ])
  }

  @Test func unreadableFilesAreRefused() throws {
    let folder = try TemporaryDirectory()
    func refuse(_ path: String, _ words: String) {
      #expect {
        _ = try ImageFiles.read(path)
      } throws: { "\($0)".hasPrefix(path) && "\($0)".contains(words) }
    }
    refuse("\(folder.path)/gone.png", "cannot be read (No such file or directory)")
    refuse(folder.path, "is not a regular file")
    let pipe = "\(folder.path)/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    refuse(pipe, "is not a regular file")
    let large = try folder.write("large.png", "")
    truncate(large, off_t(ImageDecoder.maximumByteCount + 1))
    refuse(large, "is larger than the limit of 256 MiB")
    let file = try folder.write("small.png", "abc")
    #expect(try ImageFiles.read(file) == Array("abc".utf8))
  }
}
