import CZlib

/// A zip archive of uncompressed records, whose data are aligned to 64 bytes so that PyTorch can map them.
///
/// Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, without its extensions. All times are 1980-01-01,
/// the first that the format has, so equal records give equal archives.
struct ZipArchive {
  private static let alignment = 64
  private static let localSignature: UInt32 = 0x0403_4B50
  private static let centralSignature: UInt32 = 0x0201_4B50
  private static let endSignature: UInt32 = 0x0605_4B50
  /// The length of a local header without name and extra field.
  private static let localHeaderByteCount = 30
  /// PyTorch's identifier of an extra field that pads.
  private static let paddingIdentifier: UInt16 = 0x4246
  private static let formatVersion: UInt16 = 10
  private static let firstDate: UInt16 = 1 << 5 | 1
  /// The most records; 65,535 in the directory's end means that a zip64 extension has the number.
  private static let maximumRecordCount = 65_534

  private var bytes: [UInt8] = []
  private var directory: [UInt8] = []
  private var recordCount = 0

  /// Begins an archive with memory for a number of bytes.
  init(reservingByteCount byteCount: Int) { bytes.reserveCapacity(byteCount) }

  /// Appends a record.
  ///
  /// - Precondition: The archive stays below 4 GiB, and has at most 65,534 records.
  mutating func append(_ name: String, _ content: [UInt8]) {
    content.withUnsafeBytes { append(name, $0) }
  }

  /// Appends a record.
  ///
  /// - Precondition: The archive stays below 4 GiB, and has at most 65,534 records.
  mutating func append(_ name: String, _ content: UnsafeRawBufferPointer) {
    precondition(recordCount < Self.maximumRecordCount, "an archive has at most \(Self.maximumRecordCount) records")
    let offset = bytes.count
    let nameEnd = offset + Self.localHeaderByteCount + name.utf8.count
    // An extra field has at least four bytes.
    let padding = 4 + (Self.alignment - (nameEnd + 4) % Self.alignment) % Self.alignment
    let checksum = Self.checksum(content)
    func fields(_ target: inout [UInt8]) {
      Self.put(Self.formatVersion, &target)
      Self.put(UInt16(0), &target)  // flags
      Self.put(UInt16(0), &target)  // uncompressed
      Self.put(UInt16(0), &target)  // time
      Self.put(Self.firstDate, &target)
      Self.put(checksum, &target)
      Self.put(UInt32(content.count), &target)
      Self.put(UInt32(content.count), &target)
      Self.put(UInt16(name.utf8.count), &target)
    }
    Self.put(Self.localSignature, &bytes)
    fields(&bytes)
    Self.put(UInt16(padding), &bytes)
    bytes += name.utf8
    Self.put(Self.paddingIdentifier, &bytes)
    Self.put(UInt16(padding - 4), &bytes)
    bytes += repeatElement(UInt8(ascii: "Z"), count: padding - 4)
    bytes += content

    Self.put(Self.centralSignature, &directory)
    Self.put(Self.formatVersion, &directory)
    fields(&directory)
    Self.put(UInt16(0), &directory)  // extra field
    Self.put(UInt16(0), &directory)  // comment
    Self.put(UInt16(0), &directory)  // disk
    Self.put(UInt16(0), &directory)  // internal attributes
    Self.put(UInt32(0), &directory)  // external attributes
    Self.put(UInt32(offset), &directory)
    directory += name.utf8
    recordCount += 1
  }

  /// Appends the directory and returns the archive.
  mutating func finish() -> [UInt8] {
    let offset = bytes.count
    bytes += directory
    Self.put(Self.endSignature, &bytes)
    Self.put(UInt32(0), &bytes)  // disks
    Self.put(UInt16(recordCount), &bytes)
    Self.put(UInt16(recordCount), &bytes)
    Self.put(UInt32(directory.count), &bytes)
    Self.put(UInt32(offset), &bytes)
    Self.put(UInt16(0), &bytes)  // comment
    return bytes
  }

  private static func checksum(_ content: UnsafeRawBufferPointer) -> UInt32 {
    UInt32(truncatingIfNeeded: crc32_z(0, content.assumingMemoryBound(to: UInt8.self).baseAddress, content.count))
  }

  private static func put(_ value: some FixedWidthInteger, _ target: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { target += $0 }
  }
}
