/* The floor of every JPEG benchmark: libjpeg-turbo decoding to its own YUV planes, and nothing else. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>

/* Decodes to raw planes that are thrown away; returns the picture's width, 0 when its sampling is not 4:2:0. */
int decode_yuv(const unsigned char *data, unsigned long size)
{
    struct jpeg_decompress_struct in;
    struct jpeg_error_mgr errors;
    in.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&in);
    jpeg_mem_src(&in, data, size);
    jpeg_read_header(&in, TRUE);
    in.raw_data_out = TRUE;
    jpeg_start_decompress(&in);
    int width = in.comp_info[0].v_samp_factor == 2 ? (int)in.output_width : 0;
    size_t stride = (in.output_width + 31) / 32 * 32 + 32;
    unsigned char *memory = malloc(stride * 32);
    JSAMPROW luma[16], blue[8], red[8];
    for (int row = 0; row < 16; row++) luma[row] = memory + stride * row;
    for (int row = 0; row < 8; row++) { blue[row] = memory + stride * (16 + row); red[row] = memory + stride * (24 + row); }
    JSAMPARRAY planes[3] = {luma, blue, red};
    while (width && in.output_scanline < in.output_height) jpeg_read_raw_data(&in, planes, 16);
    jpeg_abort_decompress(&in);
    jpeg_destroy_decompress(&in);
    free(memory);
    return width;
}
