/* The sensor's firmware as two functions, which main() or an Arduino sketch calls. */
#ifndef EKD_FIRMWARE_H
#define EKD_FIRMWARE_H

#ifdef __cplusplus
extern "C" {
#endif

void ekd_setup(void);
void ekd_loop(void);

#ifdef __cplusplus
}
#endif
#endif
