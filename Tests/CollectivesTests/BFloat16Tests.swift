import Collectives
import TestSupport
import Testing

@Suite struct BFloat16Tests {
  private func rounded(_ values: [Float]) -> [Float] {
    var values = values
    BFloat16.round(&values, count: values.count)
    return values
  }

  @Test func roundsToNearestEven() {
    let pairs: [(UInt32, UInt32)] = [
      (0x3f80_0000, 0x3f80_0000), (0x3f80_7fff, 0x3f80_0000), (0x3f80_8000, 0x3f80_0000), (0x3f80_8001, 0x3f81_0000),
      (0x3f81_8000, 0x3f82_0000), (0xbf81_8000, 0xbf82_0000), (0x8000_0000, 0x8000_0000), (0x0000_0001, 0x0000_0000),
      (0x8000_8001, 0x8001_0000), (0x7f7f_8000, 0x7f80_0000), (0xff7f_ffff, 0xff80_0000), (0x7f80_0000, 0x7f80_0000),
      (0xff80_0000, 0xff80_0000),
    ]
    let values = rounded(pairs.map { Float(bitPattern: $0.0) })
    #expect(values.map(\.bitPattern) == pairs.map(\.1))
  }

  /// Includes NaNs whose payload is in the lower half alone, or whose upper half is all ones.
  @Test(arguments: [0x7f80_0001, 0xff80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
  func aNaNStaysANaN(bits: UInt32) {
    let value = rounded([Float(bitPattern: bits)])[0]
    #expect(value.isNaN && value.bitPattern & 0xffff == 0)
  }

  @Test(arguments: [0, 1, 7, 8, 9, 15, 16, 17, 1000])
  func unpackInvertsPack(count: Int) {
    var numbers = TestNumbers(seed: UInt64(count))
    let values = rounded((0..<count).map { _ in numbers.float() })
    var sent = values + [7]
    var received = [Float](repeating: 0, count: count) + [9]
    sent.withUnsafeMutableBufferPointer { sent in
      received.withUnsafeMutableBufferPointer { received in
        guard let source = sent.baseAddress, let target = received.baseAddress else { return }
        let halves = BFloat16.pack(source, count: count)
        BFloat16.stagingAddress(target, count: count).update(from: halves, count: count)
        BFloat16.unpack(target, count: count)
      }
    }
    #expect(received.dropLast().map(\.bitPattern) == values.map(\.bitPattern))
    #expect(sent[count] == 7 && received[count] == 9)
  }
}
