import Tensors

// The fused epilogue of the forward pass: one sweep over the rows that a GEMM or output transform has just written.

/// Writes rows of y = product + bias (+ addend), and adds Σy and Σy² per channel to the sums if there are any.
///
/// Where the product is y already, only the sums are left to do.
///
/// - Parameters:
///   - output: y, its addend and its sums.
///   - bias: K numbers. If `nil`, there is no bias.
///   - product: The rows as the convolution left them, each of Q pixels or more.
///   - productRowStride: The floats from one row of the product to the next.
///   - offset: The index of the first row's first element in the tensors.
///   - rows: The number of rows.
///   - width: Q.
///   - channels: K.
func applyOutputEpilogue(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, product: UnsafePointer<Float>, productRowStride: Int,
  offset: Int, rows: Int, width: Int, channels: Int
) {
  let rowCount = width * channels
  guard ChannelBlock.covers(channels: channels) else {
    for row in 0..<rows {
      applyOutputEpilogueScalar(
        output, bias: bias, product: product + row * productRowStride, offset: offset + row * rowCount, count: rowCount,
        channels: channels)
    }
    return
  }
  let (y, addend) = (output.activation + offset, output.addend.map { $0 + offset })
  let isWritten = bias == nil && addend == nil && product == UnsafePointer(y)
  if isWritten && output.sums == nil { return }
  forEachChannelBlock(channels: channels, imageWidth: width) { block in
    let shift = bias.map { block.coefficients($0) } ?? VectorX4()
    let (offsets, step, steps) = (block.offsets, block.pixelBlockStride, block.pixelBlocksPerRow)
    @inline(__always) func sweep(isWritten: Bool) {
      var (sums, squares) = (VectorX4(), VectorX4())
      for row in 0..<rows {
        var i = row &* rowCount
        // Of the row such that index i of y is index i of the product.
        let product = product + row &* (productRowStride &- rowCount)
        for _ in 0..<steps {
          var value = VectorX4(product + i, offsets)
          if !isWritten {
            value = value + shift
            if let addend { value = value + VectorX4(addend + i, offsets) }
            value.store(y + i, offsets)
          }
          sums = sums + value
          squares = squares.addingProduct(value, value)
          i &+= step
        }
        if let totals = output.sums, (row + 1).isMultiple(of: block.rowsPerFlush) || row == rows - 1 {
          block.add(sums, to: totals)
          block.add(squares, to: totals + channels)
          (sums, squares) = (VectorX4(), VectorX4())
        }
      }
    }
    if isWritten { sweep(isWritten: true) } else { sweep(isWritten: false) }
  }
}

private func applyOutputEpilogueScalar(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, product: UnsafePointer<Float>, offset: Int, count: Int,
  channels: Int
) {
  for i in 0..<count {
    let k = i % channels
    let value = product[i] + (bias?[k] ?? 0) + (output.addend?[offset + i] ?? 0)
    output.activation[offset + i] = value
    output.sums?[k] += Double(value)
    output.sums?[channels + k] += Double(value) * Double(value)
  }
}
